"""The models on a device: loaded when asked for, and the least recently used one gives way."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition

from pipelines.catalog import ModelSpec
from pipelines.errors import ModelLoadError
from pipelines.pipeline import Pipeline

log = logging.getLogger(__name__)


@dataclass
class _Loaded:
    spec: ModelSpec
    pipeline: Pipeline
    #: Images that need the model where it is.
    users: int = 0


class ModelCache:
    """Models by name, up to a number of bytes. Loads one at a time, on a thread of its own."""

    def __init__(
        self,
        load: Callable[[ModelSpec], Pipeline],
        weigh: Callable[[ModelSpec], int],
        limit_bytes: int | None,
        on_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            weigh: what a model will take, in bytes, told without loading it; 0 is unknown.
            limit_bytes: what all models together may take; None is no limit.
            on_eviction: called after models have left.
        """
        self._load, self._weigh = load, weigh
        self._limit_bytes = limit_bytes
        self._on_eviction = on_eviction
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._changed = Condition()
        self._is_waiting_for_room = False
        self._is_closed = False
        self._loader = ThreadPoolExecutor(1, "darkroom-loader")

    def acquire(self, spec: ModelSpec) -> Future[Pipeline]:
        """The model, loaded first where it is not there; it stays until it is released as often.

        While a model waits for room, whoever comes later stands behind it in line, or a busy model
        would keep it out forever.
        """
        ready: Future[Pipeline] = Future()
        with self._changed:
            if self._is_closed:
                ready.set_exception(_stopped(spec))
                return ready
            loaded = self._loaded.get(spec.name)
            if loaded and loaded.spec == spec and not self._is_waiting_for_room:
                ready.set_result(self._use(loaded))
                return ready
            self._loader.submit(self._load_for, spec, ready)
        return ready

    def release(self, spec: ModelSpec) -> None:
        with self._changed:
            self._loaded[spec.name].users -= 1
            self._changed.notify_all()

    def evict_idle(self) -> bool:
        """Make the least recently used idle model leave; False when there is none."""
        with self._changed:
            is_evicted = self._evict_one()
        if is_evicted:
            self._collect()
        return is_evicted

    @property
    def size_bytes(self) -> int:
        with self._changed:
            return sum(loaded.pipeline.size_bytes for loaded in self._loaded.values())

    @property
    def names(self) -> list[str]:
        """The loaded models, the most recently used last."""
        with self._changed:
            return list(self._loaded)

    def close(self) -> None:
        """Load nothing more. What is loaded stays."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _load_for(self, spec: ModelSpec, ready: "Future[Pipeline]") -> None:
        try:
            with self._changed:
                loaded = self._loaded.get(spec.name)
            if loaded is None or loaded.spec != spec:
                self._make_room(spec)
                loaded = _Loaded(spec, self._load(spec))
            with self._changed:
                self._loaded[spec.name] = loaded
                pipeline = self._use(loaded)
        except Exception as error:
            ready.set_exception(error)
        else:
            ready.set_result(pipeline)

    def _use(self, loaded: _Loaded) -> Pipeline:
        loaded.users += 1
        self._loaded.move_to_end(loaded.spec.name)
        return loaded.pipeline

    def _make_room(self, spec: ModelSpec) -> None:
        """Evict idle models, and wait for busy ones, until the model fits.

        Raises:
            ModelLoadError: it is larger than the limit, or the cache was closed while it waited.
        """
        needed_bytes = self._weigh(spec)
        limit_bytes = self._limit_bytes
        if limit_bytes is not None and needed_bytes > limit_bytes:
            raise ModelLoadError(
                f"model {spec.name!r}: it takes {needed_bytes / 1e9:.1f} GB, all models may take "
                f"{limit_bytes / 1e9:.1f} GB; raise the limit or choose a smaller dtype"
            )
        is_evicted = False
        with self._changed:
            self._is_waiting_for_room = True
            try:
                while not self._is_closed and self._must_give_way(spec, needed_bytes):
                    if self._evict_one(spec.name):
                        is_evicted = True
                    else:
                        self._changed.wait()
                if self._is_closed:
                    raise _stopped(spec)
            finally:
                self._is_waiting_for_room = False
        if is_evicted:
            self._collect()

    def _must_give_way(self, spec: ModelSpec, needed_bytes: int) -> bool:
        """Whether a model has to leave first: for room, or because the entry was changed."""
        if spec.name in self._loaded:
            return True
        if self._limit_bytes is None:
            return False
        taken_bytes = sum(loaded.pipeline.size_bytes for loaded in self._loaded.values())
        return bool(self._loaded) and taken_bytes + needed_bytes > self._limit_bytes

    def _evict_one(self, first: str | None = None) -> bool:
        """Drop the model named first, else the least recently used; only ones without users."""
        names = [first] if first in self._loaded else list(self._loaded)
        idle = next((name for name in names if name and not self._loaded[name].users), None)
        if idle is None:
            return False
        log.info("model %s leaves the device", idle)
        del self._loaded[idle]
        return True

    def _collect(self) -> None:
        # Modules refer to each other in circles, so counting alone would not free them.
        gc.collect()
        self._on_eviction()


def _stopped(spec: ModelSpec) -> ModelLoadError:
    return ModelLoadError(f"model {spec.name!r}: the engine was stopped")
