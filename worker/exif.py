"""The Exif block of a JPEG or WebP file, for two texts (CIPA DC-008, "Exif 2.32").

Written here, byte by byte, because Pillow gives a comment the type of plain bytes, where the
standard and the readers of generation parameters want "undefined".
"""

import struct
from typing import Final

IMAGE_DESCRIPTION: Final = 0x010E
EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286

#: The types of a field (TIFF 6.0, section 2).
ASCII, LONG, UNDEFINED = 2, 4, 7

#: Big-endian, so that the comment's UTF-16 is right both for readers that follow the file's byte
#: order and for those that take it to be big-endian always.
HEADER: Final = b"MM\0*" + struct.pack(">I", 8)
#: A directory's fields lie between their count and the offset of the next directory.
FIELD_BYTES, AROUND_FIELDS_BYTES = 12, 6


def exif(*, description: str, comment: str) -> bytes:
    """An Exif block with an `ImageDescription` and a `UserComment`.

    Args:
        description: ASCII only, as the standard has it.
    """
    described = description.encode("ascii") + b"\0"
    commented = b"UNICODE\0" + comment.encode("utf-16-be")
    first_at = len(HEADER)
    second_at = first_at + AROUND_FIELDS_BYTES + 2 * FIELD_BYTES
    texts_at = second_at + AROUND_FIELDS_BYTES + FIELD_BYTES
    # Offsets are even (TIFF 6.0, section 2).
    padding = b"\0" * (len(described) % 2)
    comment_at = texts_at + len(described) + len(padding)
    first = _directory(
        _field(IMAGE_DESCRIPTION, ASCII, len(described), texts_at),
        _field(EXIF_IFD, LONG, 1, second_at),
    )
    second = _directory(_field(USER_COMMENT, UNDEFINED, len(commented), comment_at))
    return b"Exif\0\0" + HEADER + first + second + described + padding + commented


def _field(tag: int, kind: int, count: int, value: int) -> bytes:
    """A field whose value is a number, or the offset of one that takes more than four bytes."""
    return struct.pack(">HHII", tag, kind, count, value)


def _directory(*fields: bytes) -> bytes:
    return struct.pack(">H", len(fields)) + b"".join(fields) + struct.pack(">I", 0)
