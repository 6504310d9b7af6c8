"""Pixels to a file's bytes."""

from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.model import DEFAULT_QUALITY, OutputFormat
from worker.exif import exif
from worker.making import Making

#: What Pillow is told for each format, beside the quality, which a PNG does without.
OPTIONS: dict[OutputFormat, dict[str, Any]] = {
    OutputFormat.PNG: {"compress_level": 4},
    OutputFormat.WEBP: {"method": 4},
    OutputFormat.JPEG: {"subsampling": 0},
}


def encode(
    picture: Image.Image,
    output_format: OutputFormat,
    making: Making | None = None,
    quality: int = DEFAULT_QUALITY,
) -> bytes:
    """A picture as a PNG, WebP or JPEG file that carries its making, when there is one to carry.

    Args:
        quality: from 1 to 100; without effect on a PNG.
    """
    metadata = _metadata(output_format, making) if making else {}
    file = BytesIO()
    options = {"quality": quality, **OPTIONS[output_format], **metadata}
    picture.save(file, format=output_format.value, **options)
    return file.getvalue()


def _metadata(output_format: OutputFormat, making: Making) -> dict[str, Any]:
    """Two text chunks in a PNG, Exif in the others, where AUTOMATIC1111's readers look for them."""
    if output_format is OutputFormat.PNG:
        chunks = PngInfo()
        chunks.add_text("parameters", making.parameters)
        chunks.add_text("darkroom", making.record)
        return {"pnginfo": chunks}
    return {"exif": exif(description=making.record, comment=making.parameters)}
