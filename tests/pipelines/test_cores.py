"""Rows of a large batch are shared among CPU cores, and no picture shows it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cores import MIN_ROWS, cores, shares_of
from pipelines.tuning import Tuning


@given(st.integers(1, 200), st.integers(1, 32), st.booleans())
def test_shares_are_large_enough_and_equal_where_they_must_be(rows, count, equal):
    shares = shares_of(rows, count, equal=equal)
    assert shares in (1, count)
    if shares > 1:
        assert rows // shares >= MIN_ROWS
        assert not equal or rows % shares == 0


@pytest.fixture
def two_cores():
    before = torch.get_num_threads()
    yield cores(2)
    torch.set_num_threads(before)


def test_each_core_runs_its_operations_alone(two_cores):
    assert two_cores.run(lambda _: torch.get_num_threads(), range(4)) == [1, 1, 1, 1]


@pytest.mark.parametrize("model", ["sdxl", "sd3"])
def test_shared_rows_make_the_same_pictures(
    model, two_cores, load_fresh, make_request, reference, difference, monkeypatch
):
    pipeline, rows = load_fresh(model), []
    predict = pipeline._predict

    def count(latents, *args):
        rows.append(latents.shape[0])
        return predict(latents, *args)

    monkeypatch.setattr(pipeline, "_predict", count)
    pipeline.tune(Tuning(cpu_threads=2))
    requests = [make_request(seed=seed, steps=2 + seed % 2, scheduler="Euler") for seed in range(9)]
    states = [pipeline.encode(request) for request in requests]
    while waiting := [state for state in states if not state.is_finished]:
        pipeline.step(waiting)
    assert rows[:2] == [9, 9]
    for picture, request in zip(pipeline.decode(states), requests, strict=True):
        assert difference(picture, reference(model, request)) <= 1


def test_what_goes_wrong_on_a_core_is_raised(two_cores):
    with pytest.raises(ZeroDivisionError):
        two_cores.run(lambda number: 1 // number, [1, 0])
