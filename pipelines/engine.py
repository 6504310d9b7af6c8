"""The engine: one loop that advances every image under way, one step at a time."""

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread
from typing import Self

import torch

from pipelines.catalog import ModelSpec
from pipelines.device import free_cached_memory, use_own_stream, wait_for
from pipelines.errors import EngineFullError, ImageCanceledError, PipelineError
from pipelines.handle import Handle
from pipelines.loading import load_pipeline, weigh_model
from pipelines.models import ModelCache
from pipelines.notifier import Notifier
from pipelines.pipeline import ImageRequest, Picture, Pipeline, Progress
from pipelines.turns import fill_batch, join_turns, next_turn

log = logging.getLogger(__name__)

Load = Callable[[ModelSpec, torch.device], Pipeline]


class Engine:
    """Owns one device. Images join and leave the batch between steps.

    The loop's thread only steps. Loading, encoding, decoding, previews and results each have a
    thread of their own, so that none of them holds up the images under way.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        max_batch_rows: int = 32,
        max_decode_batch: int = 8,
        max_images: int = 1024,
        models_limit_bytes: int | None = None,
        preview_every_steps: int = 4,
        reproducible: bool = False,
        load: Load = load_pipeline,
    ) -> None:
        """
        Args:
            max_batch_rows: rows of one forward pass; an image with guidance takes two.
            max_decode_batch: images decoded together.
            max_images: images in the engine at once, at whatever stage.
            models_limit_bytes: what the loaded models may take together; None is no limit.
            preview_every_steps: steps from one preview to the next; 0 is none.
            reproducible: whether a picture is the same bit for bit in any company. Every step then
                runs `max_batch_rows` rows, however few are needed, and every decode one picture.
            load: loads a model.
        """
        self.device = device
        self._max_batch_rows = max_batch_rows
        self._max_decode_batch = 1 if reproducible else max_decode_batch
        self._row_buckets = (max_batch_rows,) if reproducible else ()
        self._max_images = max_images
        self._preview_every_steps = preview_every_steps
        self.models = ModelCache(
            lambda spec: self._prepared(load(spec, device)),
            lambda spec: weigh_model(spec, device),
            models_limit_bytes,
            on_eviction=lambda: free_cached_memory(device),
        )
        self._notifier = Notifier()
        self._encoder = ThreadPoolExecutor(1, "darkroom-encoder", use_own_stream, (device,))
        self._decoder = ThreadPoolExecutor(1, "darkroom-decoder", use_own_stream, (device,))
        self._results = ThreadPoolExecutor(1, "darkroom-results")
        self._thread = Thread(target=self._run, name="darkroom-engine", daemon=True)
        #: Guards the next three; the loop waits on it for work.
        self._changed = Condition()
        self._open: dict[Handle, None] = {}
        self._encoded: deque[Handle] = deque()
        self._to_decode: deque[Handle] = deque()
        self._is_stopping = False
        #: The loop's own: the images under way in the order they came, and what each key has used.
        self._running: list[Handle] = []
        self._used_s: dict[Hashable, float] = {}

    # -- for any thread ----------------------------------------------------------------------------

    def start(self) -> None:
        self._notifier.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop after the step under way. Images not finished fail with `ImageCanceledError`."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()
        self.models.close()
        self._encoder.shutdown(cancel_futures=True)
        self._decoder.shutdown(cancel_futures=True)
        for handle in list(self._open):
            self._resolve(handle, ImageCanceledError("the engine was stopped"))
        self._results.shutdown()
        self._notifier.stop()
        while self.models.evict_idle():
            pass

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(
        self,
        spec: ModelSpec,
        request: ImageRequest,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Handle:
        """Take an image in; its model is loaded when it is not there.

        Args:
            on_progress: called on a thread of the engine's; one that is slow is told less often.

        Raises:
            EngineFullError: `max_images` are in already.
        """
        handle = Handle(spec, request, on_progress, self._wake)
        with self._changed:
            if self._is_stopping:
                raise EngineFullError("the engine was stopped")
            if len(self._open) >= self._max_images:
                raise EngineFullError(f"the engine has its {self._max_images} images already")
            self._open[handle] = None
            self._changed.notify()
        self.models.acquire(spec).add_done_callback(lambda ready: self._encode_later(handle, ready))
        return handle

    @property
    def images(self) -> int:
        """How many images are in the engine, at whatever stage."""
        with self._changed:
            return len(self._open)

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._admit()
                if batch := self._next_batch():
                    self._step(batch)
                self._retire()
            except Exception as error:
                # Whatever it is, it concerns the images under way and not those yet to come.
                for handle in self._running:
                    self._resolve(handle, error)
                self._running.clear()

    def _admit(self) -> None:
        """Let encoded images join; with nothing under way, wait for one."""
        with self._changed:
            if not self._running and not self._encoded and not self._is_stopping:
                self._changed.wait(self._seconds_to_next_deadline())
            self._running += self._encoded
            self._encoded.clear()

    def _next_batch(self) -> list[Handle]:
        """The next forward pass: of the key whose turn it is, the images that came first."""
        lines: dict[Hashable, list[Handle]] = {}
        for handle in self._running:
            lines.setdefault(handle.key, []).append(handle)
        self._used_s = join_turns(self._used_s, lines)
        if not lines:
            return []
        return fill_batch(lines[next_turn(self._used_s)], self._max_batch_rows)

    def _step(self, batch: list[Handle]) -> None:
        key, states = batch[0].key, [handle.state for handle in batch if handle.state]
        begun_s = time.monotonic()
        try:
            states[0].pipeline.step(states)
            wait_for(self.device)
        except Exception as error:
            for handle in batch:
                self._resolve(handle, error)
            return
        self._used_s[key] += time.monotonic() - begun_s
        for handle in batch:
            self._tell(handle)

    def _retire(self) -> None:
        """Let the finished go on to their decoding, and those nobody waits for leave."""
        now_s = time.monotonic()
        with self._changed:
            known = list(self._open)
        for handle in known:
            if reason := handle.why_unwanted(now_s):
                self._resolve(handle, reason)
        staying: list[Handle] = []
        for handle in self._running:
            if handle not in self._open or handle.state is None:
                continue
            if handle.state.failure:
                self._resolve(handle, handle.state.failure)
            elif handle.state.is_finished:
                with self._changed:
                    self._to_decode.append(handle)
                self._decoder.submit(self._decode)
            else:
                staying.append(handle)
        self._running = staying

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _seconds_to_next_deadline(self) -> float | None:
        deadlines = [handle.request.deadline for handle in self._open if handle.request.deadline]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    # -- beside the loop ---------------------------------------------------------------------------

    def _prepared(self, pipeline: Pipeline) -> Pipeline:
        pipeline.row_buckets = self._row_buckets
        return pipeline

    def _encode_later(self, handle: Handle, ready: "Future[Pipeline]") -> None:
        try:
            self._encoder.submit(self._encode, handle, ready)
        except RuntimeError:
            self._resolve(handle, ImageCanceledError("the engine was stopped"))

    def _encode(self, handle: Handle, ready: "Future[Pipeline]") -> None:
        try:
            pipeline = ready.result()
        except Exception as error:
            self._resolve(handle, error)
            return
        with self._changed:
            is_wanted = handle in self._open
            handle.has_model = is_wanted
        if not is_wanted:
            self.models.release(handle.spec)
            return
        try:
            state = pipeline.encode(handle.request)
            wait_for(self.device)
        except Exception as error:
            self._resolve(handle, error)
            return
        with self._changed:
            if handle in self._open:
                handle.state = state
                handle.progress = Progress(0, state.steps)
                self._encoded.append(handle)
                self._changed.notify()

    def _decode(self) -> None:
        """Decode the image that waited longest, and those that can share its pass."""
        batch = self._next_to_decode()
        states = [handle.state for handle in batch if handle.state]
        if not states:
            return
        try:
            pictures = states[0].pipeline.decode(states)
        except Exception as error:
            for handle in batch:
                self._resolve(handle, error)
            return
        for handle, picture in zip(batch, pictures, strict=True):
            self._resolve(handle, picture)

    def _next_to_decode(self) -> list[Handle]:
        with self._changed:
            waiting = [handle for handle in self._to_decode if handle in self._open]
            batch = [handle for handle in waiting if handle.key == waiting[0].key]
            batch = batch[: self._max_decode_batch]
            self._to_decode = deque(handle for handle in waiting if handle not in batch)
        return batch

    def _tell(self, handle: Handle) -> None:
        state = handle.state
        if state is None:
            return
        handle.progress = Progress(state.step, state.steps)
        if handle.on_progress is None:
            return
        every = self._preview_every_steps
        is_preview_due = every and state.step % every == 0 and not state.is_finished
        draw = (lambda: state.pipeline.preview(state)) if is_preview_due else None
        self._notifier.post(handle, handle.progress, draw)

    def _resolve(self, handle: Handle, outcome: Picture | Exception) -> None:
        """Settle an image, once: whoever comes second finds it gone."""
        with self._changed:
            if handle not in self._open:
                return
            del self._open[handle]
            state, handle.state = handle.state, None
        if state:
            state.pipeline.release(state)
        if handle.has_model:
            self.models.release(handle.spec)
        if isinstance(outcome, Exception):
            outcome = _for_the_user(outcome)
        # Whoever waits for the future may do anything in its callbacks, so not on this thread.
        self._results.submit(handle.settle, outcome)


def _for_the_user(error: Exception) -> PipelineError:
    if isinstance(error, PipelineError):
        return error
    log.error("an image failed", exc_info=error)
    return PipelineError(f"the model failed: {type(error).__name__}")
