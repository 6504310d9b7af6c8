"""Turns requests into states on a thread of its own, in the order in which they came."""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import torch

from pipelines.device import use_own_stream, wait_for
from pipelines.handle import Handle
from pipelines.pipeline import Phase, Pipeline, State


class Encoder:
    """Images wait here until their model is loaded and has room for one more under way.

    Whoever finds no room keeps those behind it waiting too, as far as they are of the same model:
    a small image does not overtake a large one for ever.
    """

    def __init__(
        self,
        device: torch.device,
        on_state: Callable[[Handle, State], None],
        on_failure: Callable[[Handle, Exception], bool],
    ) -> None:
        """
        Args:
            on_state: takes an image on.
            on_failure: told of an image that could not be encoded; whether to try it once more.
        """
        self._device = device
        self._on_state, self._on_failure = on_state, on_failure
        self._line: deque[Handle] = deque()
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, "darkroom-encoder", use_own_stream, (device,))

    def add(self, handle: Handle) -> None:
        """An image whose model is loaded."""
        with self._lock:
            self._line.append(handle)
        self.look_for_room()

    def look_for_room(self) -> None:
        """Encode whom there is room for; to be called whenever an image has made some."""
        # Once stopped, it takes nothing more: the engine settles whoever is left.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._encode_all)

    def stop(self) -> None:
        """Stop after the image being encoded."""
        with self._lock:
            self._line.clear()
        self._thread.shutdown(cancel_futures=True)

    def _encode_all(self) -> None:
        while found := self._next():
            self._encode(*found)

    def _next(self) -> tuple[Handle, Pipeline] | None:
        """Whoever came first and finds room, taken out of the line."""
        with self._lock:
            # Those that left meanwhile have no pipeline any more.
            waiting = [(handle, handle.pipeline) for handle in self._line]
            self._line = deque(handle for handle, pipeline in waiting if pipeline)
            full: set[Pipeline] = set()
            for handle, pipeline in waiting:
                if pipeline is None or pipeline in full:
                    continue
                if pipeline.has_room(handle.request):
                    self._line.remove(handle)
                    return handle, pipeline
                full.add(pipeline)
        return None

    def _encode(self, handle: Handle, pipeline: Pipeline) -> None:
        begun_s = time.time()
        try:
            state = pipeline.encode(handle.request)
            wait_for(self._device)
        except Exception as error:
            if self._on_failure(handle, error):
                with self._lock:
                    self._line.appendleft(handle)
        else:
            handle.passed(Phase.ENCODE, begun_s)
            self._on_state(handle, state)
