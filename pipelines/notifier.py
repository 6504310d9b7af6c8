"""Tells submitters how far their images are, on a thread of its own."""

import logging
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from threading import Condition, Thread

import torch
from PIL import Image

from pipelines.device import use_own_stream
from pipelines.handle import Handle
from pipelines.pipeline import Progress

log = logging.getLogger(__name__)

Draw = Callable[[], Image.Image | None]


class Notifier:
    """Calls `on_progress`. A slow callback is told less often, and cannot hold up the engine."""

    def __init__(self, device: torch.device) -> None:
        """
        Args:
            device: where previews may be made.
        """
        self._device = device
        self._news: dict[Handle, tuple[Progress, Draw | None]] = {}
        self._changed = Condition()
        self._is_stopping = False
        self._thread = Thread(target=self._run, name="darkroom-notifier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def post(self, handle: Handle, progress: Progress, draw: Draw | None = None) -> None:
        """Tell of this progress, in place of earlier progress not yet told.

        Args:
            draw: makes the preview, on the notifier's thread.
        """
        with self._changed:
            _, earlier = self._news.get(handle, (None, None))
            self._news[handle] = (progress, draw or earlier)
            self._changed.notify()

    def _run(self) -> None:
        use_own_stream(self._device)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news or self._is_stopping)
                if not self._news:
                    return
                handle = next(iter(self._news))
                progress, draw = self._news.pop(handle)
            self._tell(handle, progress, draw)

    def _tell(self, handle: Handle, progress: Progress, draw: Draw | None) -> None:
        on_progress = handle.on_progress
        if on_progress is None or handle.future.done():
            return
        try:
            picture = draw() if draw else None
            if picture is not None:
                progress = replace(progress, preview=_webp(picture))
            on_progress(progress)
        except Exception:
            log.exception("telling the progress of an image failed")


def _webp(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "WEBP", quality=70, method=2)
    return file.getvalue()
