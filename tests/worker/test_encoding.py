"""Pixels to files, and the making that they carry."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image
from sd_parsers import ParserManager
from sd_parsers.data import Generators

from jobs.model import AdmittedRequest, JobRequest, OutputFormat
from pipelines.catalog import ALL_OPTIONS, Catalog, Family, ModelSpec
from worker.encoding import encode
from worker.making import MAKES_THE_PICTURE, Making, making_of

PICTURE = Image.fromarray(
    np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8), "RGB"
)
#: What JPEG and WebP hold of metadata in one block, in bytes (ITU-T T.81, section B.1.1.4).
SEGMENT_BYTES = 65_533
#: Fields of a request that say when and for whom, and nothing of how the picture looks.
TELL_OF_THE_JOB = {"webhook", "lane", "images", "seed", "labels", "metadata"}


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """A published model, at a known revision."""
    catalog = Catalog.load(Path(__file__).parent.parent.parent / "models.yaml")
    return catalog["shapes-sd"].model_copy(update={"source": "some/model", "revision": "5f0c1e"})


@pytest.fixture
def asked(request_: AdmittedRequest) -> AdmittedRequest:
    """A request with all that is hard to write down."""
    return request_.model_copy(
        update={
            "prompt": 'a red circle: "big", bold\non a second line, 日本 😀',
            "negative_prompt": "blurred, dark",
            "scheduler": "Euler Karras",
            "images": 4,
        }
    )


@pytest.mark.parametrize(
    ("output_format", "loss"),
    [(OutputFormat.PNG, 0), (OutputFormat.WEBP, 4), (OutputFormat.JPEG, 4)],
)
def test_a_picture_survives_its_format(
    output_format: OutputFormat, loss: int, asked: AdmittedRequest, spec: ModelSpec
) -> None:
    carrying = Image.open(BytesIO(encode(PICTURE, output_format, making_of(asked, 0, spec))))
    bare = Image.open(BytesIO(encode(PICTURE, output_format)))
    assert carrying.format == bare.format == output_format.value.upper()
    difference = np.abs(np.asarray(bare, np.int16) - np.asarray(PICTURE, np.int16))
    assert difference.mean() <= loss
    assert np.array_equal(np.asarray(carrying), np.asarray(bare))


def test_quality_is_what_a_lossy_format_may_cost() -> None:
    sizes = {
        output_format: [len(encode(PICTURE, output_format, quality=each)) for each in (10, 95, 100)]
        for output_format in OutputFormat
    }
    for output_format in (OutputFormat.WEBP, OutputFormat.JPEG):
        low, usual, high = sizes[output_format]
        assert low < usual < high
    assert len(set(sizes[OutputFormat.PNG])) == 1


@pytest.mark.parametrize("output_format", OutputFormat)
def test_a_published_reader_of_automatic1111_reads_every_format(
    output_format: OutputFormat, asked: AdmittedRequest, spec: ModelSpec
) -> None:
    content = encode(PICTURE, output_format, making_of(asked, 2, spec))
    read = ParserManager().parse(Image.open(BytesIO(content)))
    assert read is not None
    assert read.generator is Generators.AUTOMATIC1111
    (sampler,) = read.samplers
    assert [prompt.value for prompt in sampler.prompts] == [asked.prompt]
    assert [prompt.value for prompt in sampler.negative_prompts] == ["blurred, dark"]
    assert (sampler.name, sampler.model and sampler.model.name) == ("Euler", "shapes-sd")
    assert sampler.parameters == {
        "scheduler": "Karras",
        "cfg_scale": "4.0",
        "seed": "9",
        "steps": "20",
    }


@pytest.mark.parametrize("output_format", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_the_library_that_automatic1111_reads_exif_with_reads_ours(
    output_format: OutputFormat, asked: AdmittedRequest, spec: ModelSpec
) -> None:
    making = making_of(asked, 0, spec)
    read = piexif.load(encode(PICTURE, output_format, making))
    comment = read["Exif"][piexif.ExifIFD.UserComment]
    assert piexif.helper.UserComment.load(comment) == making.parameters
    assert read["0th"][piexif.ImageIFD.ImageDescription].decode() == making.record


def test_the_record_is_a_request_that_makes_that_picture_again(
    asked: AdmittedRequest, spec: ModelSpec
) -> None:
    making = making_of(asked, 2, spec)
    record = json.loads(making.record)
    assert (record["source"], record["revision"]) == ("some/model", "5f0c1e")
    again = AdmittedRequest.model_validate(
        {
            **asked.model_dump(),
            **JobRequest.model_validate(record["request"]).model_dump(exclude_unset=True),
            "images": 1,
        }
    )
    assert again.seed == asked.seed + 2
    assert encode(PICTURE, again.output_format, making_of(again, 0, spec)) == encode(
        PICTURE, asked.output_format, making
    )


def test_a_record_holds_nothing_that_its_model_refuses(
    request_: AdmittedRequest, spec: ModelSpec
) -> None:
    janus = spec.model_copy(update={"family": Family.JANUS})
    drawn = request_.model_copy(update={"temperature": 0.5, "top_p": 0.9, "top_k": 0})
    making = making_of(drawn, 0, janus)
    record = json.loads(making.record)["request"]
    assert set(ALL_OPTIONS) & set(record) == set(janus.options)
    assert "Temperature: 0.5, Top P: 0.9, Top K: 0" in making.parameters


def test_a_picture_tells_neither_who_asked_nor_where_its_model_lies(
    asked: AdmittedRequest, spec: ModelSpec
) -> None:
    local = spec.model_copy(update={"source": "/srv/models/shapes-sd", "revision": None})
    record = making_of(asked.model_copy(update={"lane": "batch"}), 0, local).record
    assert set(json.loads(record)) == {"request"}
    assert "srv" not in record
    assert "batch" not in record


def test_every_field_of_a_request_makes_the_picture_or_tells_of_the_job() -> None:
    assert set(AdmittedRequest.model_fields) <= MAKES_THE_PICTURE | TELL_OF_THE_JOB


@pytest.mark.parametrize("output_format", OutputFormat)
def test_the_longest_prompts_fit(
    output_format: OutputFormat, request_: AdmittedRequest, spec: ModelSpec
) -> None:
    longest = JobRequest(prompt="😀" * 2_000, negative_prompt="😀" * 2_000)
    asked = request_.model_copy(update=longest.model_dump(exclude_unset=True))
    content = encode(PICTURE, output_format, making_of(asked, 0, spec))
    assert _read(content) == making_of(asked, 0, spec)


def _read(content: bytes) -> Making:
    """What Pillow reads back, whatever the format."""
    picture = Image.open(BytesIO(content))
    if picture.format == "PNG":
        return Making(parameters=picture.info["parameters"], record=picture.info["darkroom"])
    assert len(picture.info["exif"]) <= SEGMENT_BYTES
    exif = picture.getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    return Making(
        parameters=comment.removeprefix(b"UNICODE\0").decode("utf-16-be"), record=exif[0x010E]
    )
