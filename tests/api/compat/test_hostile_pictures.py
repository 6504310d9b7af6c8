"""Pictures that are made to hurt whoever opens them: `png-info` reads texts, and nothing else."""

import base64
import resource
import struct
import time
import zlib
from collections.abc import Iterator
from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from api.compat.automatic1111.picture_info import read_texts
from api.problems import Problem

PATH = "/sdapi/v1/png-info"
MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_GROWTH_BYTES = 200 * 2**20


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return MAGIC + header + b"".join(chunks) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many of them, in a thousandth of the room."""
    packer = zlib.compressobj(9)
    block = b"\0" * 2**20
    return b"".join(packer.compress(block) for _ in range(count // 2**20)) + packer.flush()


def bombs() -> Iterator[tuple[str, bytes]]:
    yield "more pixels than fit into any memory", png(2**31 - 1, 2**31 - 1)
    yield "as many pixels as Pillow warns of", png(10_000, 10_000)
    text = zeros(512 * 2**20)
    yield "a text of 512 MB", png(8, 8, chunk(b"zTXt", b"parameters\0\0" + text))
    yield "an international one", png(8, 8, chunk(b"iTXt", b"parameters\0\1\0\0\0" + text))
    yield "a colour profile of 512 MB", png(8, 8, chunk(b"iCCP", b"a\0\0" + text))
    many = [chunk(b"zTXt", b"a%d\0\0" % number + zeros(2**20)) for number in range(200)]
    yield "two hundred texts of 1 MB", png(8, 8, *many)
    yield "a chunk that ends after the file", MAGIC + struct.pack(">I", 2**31 - 1) + b"tEXt"
    yield (
        "an Exif that points at itself",
        png(
            8,
            8,
            chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08"),
        ),
    )


BOMBS = list(bombs())


@pytest.mark.parametrize(("what", "bomb"), BOMBS, ids=[what for what, _ in BOMBS])
def test_a_bomb_takes_neither_memory_nor_time(client: TestClient, what: str, bomb: bytes) -> None:
    before, begun_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    answer = client.post(PATH, json={"image": base64.b64encode(bomb).decode()})
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert answer.status_code in (200, 422), answer.text
    assert time.monotonic() - begun_s < 10
    assert grown_bytes < MOST_GROWTH_BYTES, what


def test_only_three_formats_are_opened(client: TestClient) -> None:
    """Pillow knows forty; each is a parser that nobody asked for."""
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO", "PCX", "TGA"):
        file = BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind)
        answer = client.post(PATH, json={"image": base64.b64encode(file.getvalue()).decode()})
        assert answer.status_code == 422, kind


def saved(kind: str, exif: bytes) -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, exif=exif)
    return file.getvalue()


# Pillow warns of what it mends.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "WEBP", "PNG"]),
    header=st.sampled_from([b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0", b""]),
    exif=st.binary(max_size=120),
)
def test_any_exif_is_read_or_refused(kind: str, header: bytes, exif: bytes) -> None:
    is_refused_or_read(saved(kind, header + exif))


# Pillow warns of what it mends.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_spoilt_picture_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(saved(data.draw(st.sampled_from(["JPEG", "WEBP", "PNG"])), b""))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    is_refused_or_read(bytes(content[: data.draw(st.integers(0, len(content)))]))


def is_refused_or_read(content: bytes) -> None:
    try:
        texts = read_texts(base64.b64encode(content).decode())
    except Problem as problem:
        assert problem.kind == "invalid-request"  # noqa: PT017 - either may come
        return
    assert all(isinstance(text, str) for text in texts.values())
