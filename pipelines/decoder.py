"""Turns finished states into pictures on a thread of its own, several of a kind together."""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

from pipelines.device import use_own_stream
from pipelines.handle import Handle
from pipelines.memory import Memory
from pipelines.pipeline import Phase, Picture, State
from pipelines.pulse import Pulse


class Decoder:
    """Images wait here after their last step, in the order in which they made it."""

    def __init__(
        self,
        device: torch.device,
        memory: Memory,
        pulse: Pulse,
        max_batch: int,
        on_picture: Callable[[Handle, Picture], None],
        on_failure: Callable[[list[Handle], Exception], bool],
    ) -> None:
        """
        Args:
            on_picture: takes an image's picture.
            on_failure: told of images that could not be decoded; whether to try them once more.
        """
        self._memory, self._pulse, self._max_batch = memory, pulse, max_batch
        self._on_picture, self._on_failure = on_picture, on_failure
        self._line: deque[Handle] = deque()
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, "darkroom-decoder", use_own_stream, (device,))

    def add(self, finished: list[Handle]) -> None:
        """Images that have made their last step."""
        # All are in line before the first is taken, so that they can share a pass.
        with self._lock:
            self._line += finished
        # Once stopped, it takes nothing more: the engine settles whoever is left.
        with contextlib.suppress(RuntimeError):
            for _ in finished:
                self._thread.submit(self._decode)

    def stop(self) -> None:
        """Stop after the pictures being decoded."""
        self._thread.shutdown(cancel_futures=True)

    def _decode(self) -> None:
        """Decode the image that waited longest, and those that can share its pass."""
        batch = self._next()
        if not batch:
            return
        begun_s = time.time()
        handles, states = [handle for handle, _ in batch], [state for _, state in batch]
        try:
            with (
                self._pulse.beat(),
                self._memory.watch(handles[0].work(Phase.DECODE), len(handles)),
            ):
                pipeline = states[0].pipeline
                pictures = pipeline.decode(states)
                if pipeline.checker:
                    pictures = pipeline.checker.examine(pictures)
            done = list(zip(handles, pictures, strict=True))
        except Exception as error:
            if self._on_failure(handles, error):
                self.add(handles)
        else:
            for handle, picture in done:
                handle.passed(Phase.DECODE, begun_s)
                self._on_picture(handle, picture)

    def _next(self) -> list[tuple[Handle, State]]:
        """With their states, for an image that is cancelled meanwhile loses its own."""
        with self._lock:
            seen = [(handle, handle.state) for handle in self._line]
            waiting = [(handle, state) for handle, state in seen if state]
            if not waiting:
                self._line.clear()
                return []
            first, state = waiting[0]
            key = _key(state)
            most = self._memory.max_rows(first.work(Phase.DECODE), self._max_batch)
            batch = [(handle, state) for handle, state in waiting if _key(state) == key][:most]
            taken = {handle for handle, _ in batch}
            self._line = deque(handle for handle, _ in waiting if handle not in taken)
            return batch


def _key(state: State) -> object:
    return state.pipeline, state.pipeline.batch_key(state)
