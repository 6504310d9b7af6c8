"""Pictures in a terminal: who can show them, and how they are handed over."""

import base64
import re
from io import BytesIO

import pytest
from darkroom.command.inline import Protocol, detect, escape
from PIL import Image


@pytest.fixture(scope="module")
def webp() -> bytes:
    """A preview as the service sends it."""
    file = BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(file, "webp")
    return file.getvalue()


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM_PROGRAM": "ghostty"}, Protocol.KITTY),
        ({"TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM_PROGRAM": "WezTerm"}, Protocol.ITERM2),
        ({"LC_TERMINAL": "iTerm2"}, Protocol.ITERM2),
        ({"TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/tmp/tmux"}, None),
        ({"LC_TERMINAL": "iTerm2", "STY": "1.screen"}, None),
    ],
)
def test_a_terminal_shows_pictures_where_it_says_so(
    environment: dict[str, str], protocol: Protocol | None
) -> None:
    assert detect(environment) is protocol


def test_kitty_is_handed_a_png_in_pieces_it_can_take(webp: bytes) -> None:
    text = escape(Protocol.KITTY, webp, rows=12, number=0)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert len(pieces) > 1
    assert "".join(f"\x1b_G{control};{data}\x1b\\" for control, data in pieces) == text
    assert pieces[0][0].startswith("a=T,f=100,")
    assert [control.rpartition("m=")[2] for control, _ in pieces] == ["1"] * (len(pieces) - 1) + [
        "0"
    ]
    assert max(len(data) for _, data in pieces) <= 4096
    shown = Image.open(BytesIO(base64.b64decode("".join(data for _, data in pieces))))
    assert (shown.format, shown.size) == ("PNG", (64, 64))


@pytest.mark.parametrize(("size", "side"), [((80, 60), "c=24"), ((60, 80), "r=12")])
def test_a_picture_fits_into_its_box(size: tuple[int, int], side: str) -> None:
    file = BytesIO()
    Image.new("RGB", size).save(file, "png")
    assert f",{side},C=1" in escape(Protocol.KITTY, file.getvalue(), rows=12, number=0)
    assert ";height=12;width=24;" in escape(Protocol.ITERM2, file.getvalue(), rows=12, number=0)


def test_pictures_of_one_job_do_not_replace_each_other(webp: bytes) -> None:
    numbers = {
        re.search(r"i=(\d+)", escape(Protocol.KITTY, webp, rows=12, number=number))[1]  # type: ignore[index]
        for number in range(16)
    }
    assert len(numbers) == 16


def test_iterm2_is_handed_the_file_as_it_is(webp: bytes) -> None:
    text = escape(Protocol.ITERM2, webp, rows=12, number=0)
    head, _, data = text.removesuffix("\x07").partition(":")
    assert head.startswith(f"\x1b]1337;File=inline=1;size={len(webp)};height=12;")
    assert base64.b64decode(data) == webp


def test_what_cannot_be_read_is_not_shown() -> None:
    assert escape(Protocol.KITTY, b"no picture", rows=12, number=0) == ""
