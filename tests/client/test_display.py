"""What the command says of a job that goes on."""

import pytest
from darkroom.command.display import Display, LiveDisplay
from darkroom.events import Running
from darkroom.model import Progress, QueuePlace
from rich.console import Console


def test_a_wait_is_told_with_its_length_once_for_each_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = Display()
    for place in (
        QueuePlace(position=2, workers=0),
        QueuePlace(position=2, workers=1, eta_s=31.4),
        QueuePlace(position=1, workers=1),
    ):
        display(place)
    display(Running(attempt=1, worker="a"))
    assert capsys.readouterr().err.splitlines() == [
        "queued: no worker serves this model yet",
        "queued: 2 jobs ahead, ready in about 31 s",
        "queued: 1 job ahead",
        "running",
    ]


def test_a_bar_tells_how_fast_pictures_come() -> None:
    console = Console(record=True, force_terminal=True, width=120, file=None)
    with LiveDisplay(console, None) as display:
        display(Running(attempt=1, worker="a"))
        display(Progress(step=7, steps=20, images_per_s=1.25))
    assert "step 7 of 20, 1.2 images/s" in console.export_text()
