"""How a worker's doings are measured and traced: the engine's, and the stages of each image."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobs import metrics, tracing
from pipelines.device import device_memory
from pipelines.engine import Engine
from pipelines.handle import Handle
from pipelines.observer import Observer
from worker.outbox import Outbox


class Measured(Observer):
    """Makes metrics of what an engine tells."""

    def __init__(self, max_batch_rows: int) -> None:
        self._max_batch_rows = max_batch_rows

    def stepped(self, model: str, rows: int, took_s: float) -> None:
        metrics.STEP_SECONDS.labels(model).observe(took_s)
        metrics.BATCH_FILL.labels(model).observe(rows / self._max_batch_rows)

    def loaded(self, model: str, took_s: float) -> None:
        metrics.LOAD_SECONDS.labels(model).observe(took_s)


def note_phases(handle: Handle) -> None:
    """Tell of what the engine has done with an image, once that is over."""
    for stage in handle.stages:
        _measure(handle.spec.name, stage.phase, stage.begun_s, stage.ended_s)
        tracing.record(stage.phase, stage.begun_s, stage.ended_s)


@contextmanager
def stage(name: str, model: str) -> Iterator[None]:
    """Around what the worker itself does with an image."""
    begun_s = time.time()
    with tracing.span(name):
        yield
    _measure(model, name, begun_s, time.time())


def _measure(model: str, name: str, begun_s: float, ended_s: float) -> None:
    # The clock may have been set back in between.
    metrics.STAGE_SECONDS.labels(model, name).observe(max(ended_s - begun_s, 0.0))


def take_stock(engine: Engine, outbox: Outbox) -> None:
    """Read what is not told but has to be looked at."""
    device = str(engine.device)
    memory = device_memory(engine.device)
    metrics.DEVICE_USED.labels(device).set(memory.used_bytes)
    metrics.DEVICE_TOTAL.labels(device).set(memory.total_bytes)
    metrics.MODELS_BYTES.set(engine.models.size_bytes)
    metrics.ENGINE_IMAGES.set(engine.images)
    metrics.OUTBOX_BYTES.set(outbox.used_bytes())
