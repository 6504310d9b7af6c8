"""How a job goes on, on standard error: a live bar on a terminal, a line a stage elsewhere."""

import os
import sys
from collections.abc import Iterator
from typing import Final, Literal, Self

from rich.console import Console, ConsoleOptions, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import ControlType, Segment

from darkroom import model
from darkroom.command import inline
from darkroom.events import Event, Preview, Running
from darkroom.model import Job, QueuePlace

#: How the command may show previews: as the terminal can, in one way, or not at all.
PreviewChoice = Literal["auto", "kitty", "iterm2", "off"]

#: Lines that a picture takes.
PICTURE_ROWS: Final = 12


def show(preview: PreviewChoice) -> "Display":
    """What fits where standard error goes."""
    console = Console(stderr=True)
    return LiveDisplay(console, _protocol(preview)) if console.is_terminal else Display()


class Display:
    """Takes a job's events and prints a line for each stage, for logs and pipes."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do."""

    def __call__(self, event: Event) -> None:
        stage = _stage(event)
        if stage and stage != self._last:
            print(stage, file=sys.stderr, flush=True)
            self._last = stage

    def picture(self, index: int, content: bytes) -> None:
        """A finished picture, in the place of its previews where those are shown."""


class LiveDisplay(Display):
    """A bar that moves, and pictures above it where the terminal shows them."""

    def __init__(self, console: Console, protocol: inline.Protocol | None) -> None:
        super().__init__()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("submitted", total=None, count="")
        self._pictures = _Pictures(protocol) if protocol else None
        self._live = Live(self._view(), console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Preview():
                self.picture(event.index, event.data)
            case model.Progress():
                self._bar.update(
                    self._task,
                    total=event.steps,
                    completed=event.step,
                    count=_count(event),
                )
            case _ if stage := _stage(event):
                self._bar.update(self._task, description=stage)
        self._live.update(self._view(), refresh=True)

    def picture(self, index: int, content: bytes) -> None:
        if self._pictures is not None:
            self._pictures.contents[index] = content
            self._live.update(self._view(), refresh=True)

    def _view(self) -> Group:
        if self._pictures is None or not self._pictures.contents:
            return Group(self._bar)
        return Group(self._pictures, self._bar)


class _Pictures:
    """Pictures side by side, over lines that are left empty for them."""

    def __init__(self, protocol: inline.Protocol) -> None:
        self._protocol = protocol
        #: The latest file of each image, by its index.
        self.contents: dict[int, bytes] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        columns = 2 * PICTURE_ROWS + 1
        # At its bottom the screen scrolls now, and not under a picture that is cut there.
        yield _raw("\n" * PICTURE_ROWS + f"\x1b[{PICTURE_ROWS}A")
        for place, (index, content) in enumerate(sorted(self.contents.items())):
            if (place + 1) * columns > options.max_width:
                break
            text = inline.escape(self._protocol, content, rows=PICTURE_ROWS, number=index)
            yield _raw(f"\x1b[{place * columns + 1}G{text}\r")
        for _ in range(PICTURE_ROWS):
            yield Segment.line()


def _raw(text: str) -> Segment:
    """What reaches the terminal as it is, and takes no room on it."""
    return Segment(text, None, [(ControlType.CARRIAGE_RETURN,)])


def _protocol(choice: PreviewChoice) -> inline.Protocol | None:
    match choice:
        case "auto":
            return inline.detect(os.environ)
        case "off":
            return None
        case name:
            return inline.Protocol(name)


def _ahead(jobs: int) -> str:
    return f"queued: {jobs} job{'' if jobs == 1 else 's'} ahead"


def _count(progress: model.Progress) -> str:
    steps = f"step {progress.step} of {progress.steps}"
    speed = progress.images_per_s
    return f"{steps}, {speed:.2g} images/s" if speed else steps


def _stage(event: Event) -> str:
    """A stage in words; empty for what goes on within one."""
    match event:
        case QueuePlace(workers=0):
            return "queued: no worker serves this model yet"
        case QueuePlace(position=ahead, eta_s=None):
            return _ahead(ahead)
        case QueuePlace(position=ahead, eta_s=eta_s):
            return f"{_ahead(ahead)}, ready in about {eta_s:.0f} s"
        case Running(attempt=1):
            return "running"
        case Running(attempt=attempt):
            return f"running: attempt {attempt}"
        case Job(status=status):
            return status
        case _:
            return ""
