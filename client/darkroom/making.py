"""What a picture's file tells of its making. Reads PNG, JPEG and WebP with nothing but Python."""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darkroom.errors import PictureError

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8"
EXIF: Final = b"Exif\0\0"
#: Exif's tags (CIPA DC-008): what holds our record, the way to the next directory, and what holds
#: AUTOMATIC1111's parameters.
IMAGE_DESCRIPTION, EXIF_DIRECTORY, USER_COMMENT = 0x010E, 0x8769, 0x9286
#: JPEG's markers: one that metadata stands in, and the start of the pixels (ITU-T T.81, table B.1).
APP1, START_OF_SCAN = 0xE1, 0xDA
#: The most that a compressed text may grow to.
MAX_TEXT_BYTES: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a picture was made."""

    #: The form of AUTOMATIC1111, which other tools write too.
    parameters: str | None = None
    #: A body of `POST /v1/jobs` that makes the picture again; only in Darkroom's own.
    request: dict[str, Any] | None = None
    #: The published model that made it, and its revision, where that is known.
    source: str | None = None
    revision: str | None = None


def read(path: str | Path) -> Making:
    """What a picture's file tells.

    Raises:
        PictureError: it is no picture that can be read, or tells nothing.
    """
    try:
        return parse(Path(path).read_bytes())
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror}") from None
    except PictureError as error:
        raise PictureError(f"{path} {error}") from None


def parse(content: bytes) -> Making:
    """As `read`, from the file's bytes."""
    try:
        parameters, text = _texts(content)
    except (struct.error, IndexError, ValueError, zlib.error):
        raise PictureError("is damaged") from None
    record = _record(text)
    if parameters is None and not record:
        raise PictureError("does not tell how it was made")
    told = {name: record.get(name) for name in ("request", "source", "revision")}
    return Making(parameters=parameters, **told)


def _record(text: str | None) -> dict[str, Any]:
    """Our record; empty where it has not the form that Darkroom writes."""
    try:
        record = json.loads(text or "")
    except (RecursionError, ValueError):
        return {}
    is_ours = (
        isinstance(record, dict)
        and isinstance(request := record.get("request"), dict)
        and isinstance(request.get("prompt"), str)
        and all(isinstance(record.get(name, ""), str) for name in ("source", "revision"))
    )
    return record if is_ours else {}


def _texts(content: bytes) -> tuple[str | None, str | None]:
    """AUTOMATIC1111's parameters and our record, as far as they are there."""
    if content.startswith(PNG):
        texts = dict(_png_texts(content))
        return texts.get("parameters"), texts.get("darkroom")
    if content.startswith(JPEG):
        return _exif_texts(_jpeg_exif(content))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _exif_texts(_webp_exif(content))
    raise PictureError("is no PNG, JPEG or WebP")


def _png_texts(content: bytes) -> Iterator[tuple[str, str]]:
    """Every text of a PNG by its keyword (ISO/IEC 15948, section 11.3.4)."""
    at = len(PNG)
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        keyword, _, rest = content[at + 8 : at + 8 + length].partition(b"\0")
        match kind:
            case b"tEXt":
                yield keyword.decode("latin-1"), rest.decode("latin-1")
            case b"zTXt":
                yield keyword.decode("latin-1"), _inflated(rest[1:]).decode("latin-1")
            case b"iTXt":
                # Two flags, a language and a translated keyword come before the text.
                text = rest[2:].split(b"\0", 2)[2]
                yield keyword.decode("latin-1"), (_inflated(text) if rest[0] else text).decode()
        at += length + 12


def _inflated(compressed: bytes) -> bytes:
    return zlib.decompressobj().decompress(compressed, MAX_TEXT_BYTES)


def _jpeg_exif(content: bytes) -> bytes:
    """The first Exif block before the pixels."""
    at = len(JPEG)
    while content[at + 1] != START_OF_SCAN:
        marker, length = struct.unpack_from(">xBH", content, at)
        segment = content[at + 4 : at + 2 + length]
        if marker == APP1 and segment.startswith(EXIF):
            return segment
        at += 2 + length
    return b""


def _webp_exif(content: bytes) -> bytes:
    """The chunk of that name (RFC 9649, section 2.7.1.5)."""
    at = 12
    while at < len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == b"EXIF":
            return content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b""


def _exif_texts(block: bytes) -> tuple[str | None, str | None]:
    tiff = block.removeprefix(EXIF)
    if not tiff:
        return None, None
    order = ">" if tiff.startswith(b"MM") else "<"
    main = _directory(tiff, order, struct.unpack_from(f"{order}I", tiff, 4)[0])
    described = main.get(IMAGE_DESCRIPTION, b"").rstrip(b"\0").decode(errors="replace")
    comment = b""
    if more := main.get(EXIF_DIRECTORY):
        fields = _directory(tiff, order, struct.unpack(f"{order}I", more)[0])
        comment = fields.get(USER_COMMENT, b"")
    # Who else writes a description writes no JSON.
    return _comment(comment), described if described.startswith("{") else None


def _directory(tiff: bytes, order: str, at: int) -> dict[int, bytes]:
    """A directory's fields of a byte a piece, and of one long (TIFF 6.0, section 2)."""
    fields = {}
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for number in range(count):
        field = at + 2 + 12 * number
        tag, kind, size = struct.unpack_from(f"{order}HHI", tiff, field)
        value = tiff[field + 8 : field + 12]
        if kind in (1, 2, 7) and size > 4:
            (value_at,) = struct.unpack(f"{order}I", value)
            value = tiff[value_at : value_at + size]
        fields[tag] = value
    return fields


def _comment(comment: bytes) -> str | None:
    """A comment's text, by the character code that it begins with; big-endian as piexif has it."""
    code, text = comment[:8], comment[8:]
    match code:
        case b"UNICODE\0":
            return text.decode("utf-16-be")
        case b"ASCII\0\0\0":
            return text.decode("ascii")
        case _:
            return None
