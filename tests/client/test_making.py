"""What a picture tells: the service's own files, other tools' files, and broken ones."""

import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import piexif
import piexif.helper
import pytest
from darkroom import PictureError, making
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from jobs.model import AdmittedRequest, OutputFormat
from pipelines.catalog import Catalog, ModelSpec
from worker.encoding import encode
from worker.making import making_of

PICTURE = Image.new("RGB", (16, 16), "red")
PARAMETERS = "a red circle\nSteps: 20, Seed: 7, Size: 64x64"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    catalog = Catalog.load(Path(__file__).parent.parent.parent / "models.yaml")
    return catalog["shapes-sd"].model_copy(update={"source": "some/model", "revision": "5f0c1e"})


@pytest.fixture(scope="module")
def files(request_: AdmittedRequest, spec: ModelSpec) -> dict[OutputFormat, bytes]:
    """A picture of the service's in each format."""
    asked = request_.model_copy(update={"prompt": "a red circle, 日本 😀", "images": 2})
    return {each: encode(PICTURE, each, making_of(asked, 1, spec)) for each in OutputFormat}


@pytest.mark.parametrize("output_format", OutputFormat)
def test_the_service_s_pictures_are_read(
    output_format: OutputFormat,
    files: dict[OutputFormat, bytes],
    tmp_path: Path,
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(files[output_format])
    read = making.read(path)
    assert (read.source, read.revision) == ("some/model", "5f0c1e")
    assert read.request is not None
    assert (read.request["prompt"], read.request["seed"]) == ("a red circle, 日本 😀", 8)
    assert read.parameters is not None
    assert read.parameters.startswith("a red circle, 日本 😀\nSteps: 20")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("text", [PARAMETERS, PARAMETERS + " 日本"])
def test_pngs_of_other_tools_are_read(text: str, is_compressed: bool) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", text, zip=is_compressed)
    file = BytesIO()
    PICTURE.save(file, "png", pnginfo=chunks)
    assert making.parse(file.getvalue()) == making.Making(parameters=text)


@pytest.mark.parametrize("encoding", ["unicode", "ascii"])
@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_exif_of_other_tools_is_read(output_format: str, encoding: str) -> None:
    comment = piexif.helper.UserComment.dump(PARAMETERS, encoding=encoding)
    exif = piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}})
    file = BytesIO()
    PICTURE.save(file, output_format, exif=exif)
    assert making.parse(file.getvalue()) == making.Making(parameters=PARAMETERS)


@pytest.mark.parametrize("output_format", OutputFormat)
def test_a_picture_that_tells_nothing_is_named(output_format: OutputFormat, tmp_path: Path) -> None:
    path = tmp_path / "silent"
    path.write_bytes(encode(PICTURE, output_format))
    with pytest.raises(PictureError, match=f"{path} does not tell how it was made"):
        making.read(path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    with pytest.raises(PictureError, match=f"{path} cannot be read: No such file"):
        making.read(path)
    path.write_text("a red circle")
    with pytest.raises(PictureError, match=f"{path} is no PNG, JPEG or WebP"):
        making.read(path)


@given(data=st.data(), output_format=st.sampled_from(OutputFormat))
def test_a_damaged_picture_is_read_or_refused(
    data: st.DataObject, output_format: OutputFormat, files: dict[OutputFormat, bytes]
) -> None:
    content = bytearray(files[output_format])
    end = data.draw(st.integers(0, len(content)))
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)
    ):
        content[at] = byte
    with suppress(PictureError):
        making.parse(bytes(content[:end]))


def test_a_text_that_would_fill_the_memory_is_cut() -> None:
    bomb = b"parameters\0\0" + zlib.compress(b"x" * 50_000_000)
    chunk = len(bomb).to_bytes(4) + b"zTXt" + bomb + zlib.crc32(b"zTXt" + bomb).to_bytes(4)
    read = making.parse(making.PNG + chunk)
    assert read.parameters is not None
    assert len(read.parameters) == making.MAX_TEXT_BYTES


@pytest.mark.parametrize(
    "record",
    ["[1]", '"text"', '{"request": [1]}', '{"request": {"seed": 7}}', "[" * 100_000, "no JSON"],
)
def test_a_record_of_another_shape_is_passed_over(record: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", PARAMETERS)
    chunks.add_text("darkroom", record)
    file = BytesIO()
    PICTURE.save(file, "png", pnginfo=chunks)
    assert making.parse(file.getvalue()) == making.Making(parameters=PARAMETERS)
