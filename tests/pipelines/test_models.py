"""Several models share a device: the least recently used one gives way, and nobody is kept out."""

import gc
import threading
import time
import weakref
from concurrent.futures import Future

import pytest
import torch

from pipelines.engine import Engine
from pipelines.errors import ModelLoadError
from pipelines.loading import load_pipeline, weigh_model
from pipelines.models import ModelCache

CPU = torch.device("cpu")


@pytest.fixture
def entries(spec_of):
    """Three entries of one model, under three names."""
    return [spec_of("sd").model_copy(update={"name": name}) for name in "abc"]


@pytest.fixture
def cache_of(entries):
    """A cache with room for a number of models; real ones, loaded from their folders."""
    caches = []

    def cache_of(room):
        loaded = load_pipeline(entries[0], CPU).size_bytes
        cache = ModelCache(
            lambda spec: load_pipeline(spec, CPU),
            lambda spec: weigh_model(spec, CPU),
            limit_bytes=int(loaded * (room + 0.1)),
        )
        caches.append(cache)
        return cache

    yield cache_of
    for cache in caches:
        cache.close()


def use(cache, spec):
    pipeline = cache.acquire(spec).result(30)
    cache.release(spec)
    return pipeline


def test_a_model_is_loaded_once(cache_of, entries):
    cache = cache_of(2)
    assert use(cache, entries[0]) is use(cache, entries[0])


def test_the_least_recently_used_model_gives_way_and_its_memory_is_free(cache_of, entries):
    a, b, c = entries
    cache = cache_of(2)
    first = weakref.ref(use(cache, a))
    use(cache, b)
    use(cache, a)
    use(cache, c)
    assert cache.names == ["a", "c"]
    use(cache, b)
    assert cache.names == ["c", "b"]
    gc.collect()
    assert first() is None


def test_a_model_in_use_does_not_give_way(cache_of, entries):
    a, b, _ = entries
    cache = cache_of(1)
    cache.acquire(a).result(30)
    waiting = cache.acquire(b)
    assert not waiting.done()
    cache.release(a)
    waiting.result(30)
    assert cache.names == ["b"]


def test_a_busy_model_cannot_keep_another_out(cache_of, entries):
    """Once b waits, those who come for a stand behind it, however often they come."""
    a, b, _ = entries
    cache = cache_of(1)
    cache.acquire(a).result(30)
    waiting = cache.acquire(b)
    await_that(lambda: cache._is_waiting_for_room)
    later = cache.acquire(a)
    assert not later.done()
    cache.release(a)
    waiting.result(30)
    assert not later.done()
    cache.release(b)
    later.result(30)


def await_that(holds):
    give_up_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)


def test_a_model_larger_than_the_limit_is_refused_with_both_sizes(cache_of, entries):
    with pytest.raises(ModelLoadError, match=r"model 'a': it takes .* GB, all models may take"):
        cache_of(0.5).acquire(entries[0]).result(30)


def test_an_entry_that_was_changed_is_loaded_anew(cache_of, entries):
    cache = cache_of(2)
    before = use(cache, entries[0])
    changed = entries[0].model_copy(update={"guidance_rescale": 0.7})
    assert use(cache, changed) is not before
    assert use(cache, changed).spec.guidance_rescale == 0.7


def test_closing_ends_the_wait_for_room(cache_of, entries):
    cache = cache_of(1)
    cache.acquire(entries[0]).result(30)
    waiting: Future = cache.acquire(entries[1])
    await_that(lambda: cache._is_waiting_for_room)
    cache.close()
    with pytest.raises(ModelLoadError, match="stopped"):
        waiting.result(30)


def test_two_models_take_turns_on_one_device(
    spec_of, pipeline_of, make_request, reference, difference
):
    """Through the engine, images of two models under way at once; each as if alone."""
    requests = [(name, make_request(seed=seed)) for seed in range(3) for name in ("sd", "sdxl")]
    specs = {name: spec_of(name) for name in ("sd", "sdxl")}
    alone = [reference(name, request) for name, request in requests]
    with Engine(CPU, load=lambda spec, _: pipeline_of(spec.name)) as engine:
        handles = [engine.submit(specs[name], request) for name, request in requests]
        for handle, picture in zip(handles, alone, strict=True):
            assert difference(handle.future.result(60), picture) <= 1
        assert sorted(engine.models.names) == ["sd", "sdxl"]


def test_a_model_leaves_the_device_with_all_its_memory(spec_of, entries, make_request):
    """Nothing of a finished image keeps its model alive once another needs the room."""
    pipelines = []

    def load(spec, device):
        pipeline = load_pipeline(spec, device)
        pipelines.append(weakref.ref(pipeline))
        return pipeline

    limit = int(load_pipeline(entries[0], CPU).size_bytes * 1.5)
    with Engine(CPU, models_limit_bytes=limit, load=load) as engine:
        handle = engine.submit(entries[0], make_request())
        handle.future.result(30)
        failed = engine.submit(entries[0], make_request(width=60))
        assert failed.future.exception(30)
        engine.submit(entries[1], make_request()).future.result(30)
        gc.collect()
        assert [pipeline() is None for pipeline in pipelines] == [True, False]


def test_a_model_that_cannot_be_loaded_fails_its_images_and_can_be_mended(
    spec_of, entries, make_request, tmp_path
):
    entry = entries[0].model_copy(update={"source": str(tmp_path / "nothing")})
    with Engine(CPU) as engine:
        with pytest.raises(ModelLoadError, match=r"model 'a': the folder .* does not exist"):
            engine.submit(entry, make_request()).future.result(30)
        assert engine.submit(entries[0], make_request()).future.result(30).image.size == (64, 64)
