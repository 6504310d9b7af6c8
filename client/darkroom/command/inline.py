"""Pictures between the lines of a terminal, where the terminal says of itself that it can.

Kitty's graphics protocol (sw.kovidgoyal.net/kitty/graphics-protocol) and iTerm2's inline images
(iterm2.com/documentation-images.html). Sixel is left out: a terminal only tells of it when asked,
and the answer would have to be read from the keyboard's own line.
"""

import base64
import os
import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum
from io import BytesIO
from typing import Final


class Protocol(StrEnum):
    """How a terminal is handed a picture."""

    KITTY = "kitty"
    ITERM2 = "iterm2"


#: What `TERM_PROGRAM` says where a protocol is spoken.
_PROGRAMS: Final[Mapping[str, Protocol]] = {
    "ghostty": Protocol.KITTY,
    "iTerm.app": Protocol.ITERM2,
    "kitty": Protocol.KITTY,
    "WezTerm": Protocol.ITERM2,
}
#: The most that Kitty takes in one escape.
_CHUNK: Final = 4096


def detect(environment: Mapping[str, str]) -> Protocol | None:
    """What the terminal speaks; nothing inside a multiplexer, which swallows pictures."""
    if "TMUX" in environment or "STY" in environment:
        return None
    if "KITTY_WINDOW_ID" in environment or environment.get("TERM") == "xterm-kitty":
        return Protocol.KITTY
    if environment.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    return _PROGRAMS.get(environment.get("TERM_PROGRAM", ""))


def escape(protocol: Protocol, content: bytes, *, rows: int, number: int) -> str:
    """What puts a picture at the cursor, over one of the same number before. The cursor stays.

    The picture fits into `rows` lines and twice as many columns, which is about a square. It is
    empty where the terminal could not show the picture.
    """
    if protocol is Protocol.ITERM2:
        box = f"size={len(content)};height={rows};width={2 * rows};preserveAspectRatio=1"
        data = base64.b64encode(content).decode()
        return f"\x1b]1337;File=inline=1;{box};doNotMoveCursor=1:{data}\x07"
    png = _as_png(content)
    return "".join(_kitty(png, rows, _picture_id(number))) if png else ""


def _kitty(png: bytes, rows: int, picture_id: int) -> Iterator[str]:
    text = base64.b64encode(png).decode()
    # Of the box only its tighter side is given, or the picture would be stretched to both.
    width, height = struct.unpack_from(">II", png, 16)
    side = f"c={2 * rows}" if width > height else f"r={rows}"
    control = f"a=T,f=100,i={picture_id},p=1,{side},C=1,q=2,"
    for at in range(0, len(text), _CHUNK):
        has_more = int(at + _CHUNK < len(text))
        yield f"\x1b_G{control}m={has_more};{text[at : at + _CHUNK]}\x1b\\"
        control = ""


def _picture_id(number: int) -> int:
    """One that other processes on the same terminal are unlikely to use."""
    return 1 + (os.getpid() * 64 + number) % 0xFFFFFF


def _as_png(content: bytes) -> bytes | None:
    """Kitty knows PNG only; all else takes Pillow, which `darkroom[preview]` brings along."""
    if content.startswith(b"\x89PNG") and len(content) > 24:
        return content
    file = BytesIO()
    try:
        from PIL import Image

        Image.open(BytesIO(content)).save(file, "png")
    except (ImportError, OSError):
        return None
    return file.getvalue()
