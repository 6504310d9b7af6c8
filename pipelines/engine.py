"""The engine: one loop that advances every image under way, one step at a time."""

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Condition, Thread
from typing import Self

import torch

from pipelines.catalog import ModelSpec
from pipelines.decoder import Decoder
from pipelines.device import free_cached_memory, is_out_of_memory, wait_for
from pipelines.encoder import Encoder
from pipelines.errors import EngineFullError, ImageCanceledError, OutOfMemoryError, PipelineError
from pipelines.handle import Handle
from pipelines.loading import load_pipeline, weigh_model
from pipelines.memory import Memory
from pipelines.models import ModelCache
from pipelines.notifier import Notifier
from pipelines.observer import Observer
from pipelines.pipeline import ImageRequest, Phase, Picture, Pipeline, Progress, State
from pipelines.pulse import Pulse
from pipelines.tuning import Tuning
from pipelines.turns import fill_batch, in_order, join_turns, next_turn

log = logging.getLogger(__name__)

_UNTUNED = Tuning()
_UNOBSERVED = Observer()

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
        memory_limit_bytes: int | None = None,
        preview_every_steps: int = 4,
        reproducible: bool = False,
        tuning: Tuning = _UNTUNED,
        observer: Observer = _UNOBSERVED,
        load: Load = load_pipeline,
    ) -> None:
        """
        Args:
            max_batch_rows: rows of one forward pass; an image with guidance takes two.
            max_decode_batch: images decoded together.
            max_images: images in the engine at once, at whatever stage.
            models_limit_bytes: what the loaded models may take together; None is no limit.
            memory_limit_bytes: what models and batches may take together; None is all that is free
                on a GPU, and no limit on a CPU.
            preview_every_steps: steps from one preview to the next; 0 is none.
            reproducible: whether every step runs `max_batch_rows` rows, however few are needed, and
                every decode one picture, so that a GPU's kernels do not depend on the company.
            tuning: what is done to a model for speed when it is loaded.
            observer: told of what is worth measuring.
            load: loads a model.
        """
        self.device = device
        self._load, self._observer = load, observer
        self._max_batch_rows = max_batch_rows
        if reproducible:
            tuning = replace(tuning, row_buckets=(max_batch_rows,))
        self._tuning = tuning
        self._is_fixed = reproducible
        self._max_images = max_images
        self._preview_every_steps = preview_every_steps
        self.models = ModelCache(
            self._loaded,
            lambda spec: weigh_model(spec, device),
            models_limit_bytes,
            on_eviction=lambda: free_cached_memory(device),
        )
        self._memory = Memory(device, memory_limit_bytes, lambda: self.models.size_bytes)
        self.pulse = Pulse()
        self._notifier = Notifier(device)
        self._encoder = Encoder(device, self._take_on, self._encode_failed)
        self._decoder = Decoder(
            device,
            self._memory,
            self.pulse,
            1 if reproducible else max_decode_batch,
            self._resolve,
            self._decode_failed,
        )
        self._results = ThreadPoolExecutor(1, "darkroom-results")
        self._thread = Thread(target=self._run, name="darkroom-engine", daemon=True)
        #: Guards the next four; the loop waits on it for work.
        self._changed = Condition()
        self._open: dict[Handle, None] = {}
        self._encoded: deque[Handle] = deque()
        self._is_stopping = self._is_woken = False
        #: The loop's own: the images under way, what a step takes, and what each key has used.
        self._running: list[Handle] = []
        self._step_s = 0.0
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
        if self._thread.is_alive():
            self._thread.join()
        self.models.close()
        self._encoder.stop()
        self._decoder.stop()
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
        self._wake()
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
                self._encoder.look_for_room()

    def _admit(self) -> None:
        """Let encoded images join; with nothing under way, wait for one."""
        with self._changed:
            if not self._running:
                self._changed.wait_for(
                    lambda: self._encoded or self._is_woken or self._is_stopping,
                    self._seconds_to_next_deadline(),
                )
            self._is_woken = False
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
        line = in_order(lines[next_turn(self._used_s)], self._step_s)
        return fill_batch(line, self._max_rows(line[0]))

    def _max_rows(self, first: Handle) -> int:
        if self._is_fixed:
            return self._max_batch_rows
        return self._memory.max_rows(first.work(Phase.STEP), self._max_batch_rows)

    def _step(self, batch: list[Handle]) -> None:
        key, states = batch[0].key, [handle.state for handle in batch if handle.state]
        rows = sum(state.rows for state in states)
        failure: Exception | None = None
        begun_s = time.monotonic()
        try:
            with self.pulse.beat(), self._memory.watch(batch[0].work(Phase.STEP), rows):
                states[0].pipeline.step(states)
                wait_for(self.device)
        except Exception as error:
            failure = error
        took_s = time.monotonic() - begun_s
        self._used_s[key] += took_s
        if failure is None:
            self._observer.stepped(batch[0].spec.name, rows, took_s)
            self._step_s = took_s if not self._step_s else 0.9 * self._step_s + 0.1 * took_s
            for handle in batch:
                self._tell(handle)
        elif not self._can_try_again(Phase.STEP, batch, rows, failure):
            for handle in batch:
                self._resolve(handle, failure)

    def _can_try_again(
        self, phase: Phase, batch: list[Handle], rows: int, failure: Exception
    ) -> bool:
        """After a failure: whether it was for want of memory, and the next try needs less."""
        if not is_out_of_memory(failure):
            return False
        # The failure's frames hold what filled the memory.
        failure.__traceback__ = None
        free_cached_memory(self.device)
        first = batch[0]
        if len(batch) > 1 and not self._is_fixed:
            log.warning("%d rows of %s ran out of memory", rows, first.work(phase))
            self._memory.run_out(first.work(phase), rows)
            return True
        size = (first.request.width, first.request.height)
        if first.state and first.state.pipeline.save_memory(phase, *size):
            log.warning("%s goes on in less memory", first.work(phase))
            return True
        return self.models.evict_idle()

    def _retire(self) -> None:
        """Let the finished go on to their decoding, and those nobody waits for leave."""
        now_s = time.monotonic()
        with self._changed:
            known = list(self._open)
        for handle in known:
            if reason := handle.why_unwanted(now_s):
                self._resolve(handle, reason)
        staying: list[Handle] = []
        finished: list[Handle] = []
        for handle in self._running:
            if handle not in self._open or handle.state is None:
                continue
            if handle.state.failure:
                self._resolve(handle, handle.state.failure)
            elif handle.state.is_finished:
                # Its steps began when it was encoded.
                handle.passed(Phase.STEP, handle.stages[-1].ended_s)
                finished.append(handle)
            else:
                staying.append(handle)
        self._decoder.add(finished)
        if len(staying) < len(self._running):
            self._encoder.look_for_room()
        self._running = staying
        if not staying:
            # A key holds its pipeline, which may have to leave.
            self._used_s.clear()

    def _wake(self) -> None:
        """Have the loop look at everybody again, even if it is just about to wait."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def _seconds_to_next_deadline(self) -> float | None:
        deadlines = [handle.request.deadline for handle in self._open if handle.request.deadline]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    # -- beside the loop ---------------------------------------------------------------------------

    def _loaded(self, spec: ModelSpec) -> Pipeline:
        begun_s = time.monotonic()
        pipeline = self._load(spec, self.device)
        pipeline.tune(self._tuning)
        self._observer.loaded(spec.name, time.monotonic() - begun_s)
        return pipeline

    def _encode_later(self, handle: Handle, ready: "Future[Pipeline]") -> None:
        try:
            pipeline = ready.result()
        except Exception as error:
            self._resolve(handle, error)
            return
        with self._changed:
            is_wanted = handle in self._open
            handle.pipeline = pipeline if is_wanted else None
        if is_wanted:
            self._encoder.add(handle)
        else:
            self.models.release(handle.spec)

    def _encode_failed(self, handle: Handle, error: Exception) -> bool:
        if self._can_try_again(Phase.ENCODE, [handle], 1, error):
            return True
        self._resolve(handle, error)
        return False

    def _take_on(self, handle: Handle, state: State) -> None:
        with self._changed:
            is_wanted = handle in self._open
            if is_wanted:
                handle.state = state
                handle.progress = Progress(0, state.steps)
                self._encoded.append(handle)
                self._changed.notify()
        if not is_wanted:
            state.pipeline.release(state)

    def _decode_failed(self, batch: list[Handle], error: Exception) -> bool:
        if self._can_try_again(Phase.DECODE, batch, len(batch), error):
            return True
        for handle in batch:
            self._resolve(handle, error)
        return False

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
            pipeline, handle.pipeline = handle.pipeline, None
        if pipeline and state:
            pipeline.release(state)
        if pipeline:
            self.models.release(handle.spec)
        if isinstance(outcome, Exception):
            outcome = self._for_the_user(outcome, handle.request)
        # Whoever waits for the future may do anything in its callbacks, so not on this thread.
        self._results.submit(handle.settle, outcome)

    def _for_the_user(self, error: Exception, request: ImageRequest) -> PipelineError:
        if isinstance(error, PipelineError):
            # Its frames hold the pipeline, which may have to leave while the error is kept.
            return error.with_traceback(None)
        if is_out_of_memory(error):
            return OutOfMemoryError(
                f"a {request.width}x{request.height} image does not fit into the memory of "
                f"{self.device}; a smaller one may"
            )
        log.error("an image failed", exc_info=error)
        return PipelineError(f"the model failed: {type(error).__name__}")
