"""Pixels to a file's bytes."""

from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.model import OutputFormat
from worker.exif import exif
from worker.making import Making

#: What Pillow is told for each format. PNG is lossless; 95 is where JPEG's loss stops being seen.
OPTIONS: dict[OutputFormat, dict[str, Any]] = {
    OutputFormat.PNG: {"compress_level": 4},
    OutputFormat.WEBP: {"quality": 95, "method": 4},
    OutputFormat.JPEG: {"quality": 95, "subsampling": 0},
}


def encode(
    picture: Image.Image, output_format: OutputFormat, making: Making | None = None
) -> bytes:
    """A picture as a PNG, WebP or JPEG file that carries its making, when there is one to carry."""
    metadata = _metadata(output_format, making) if making else {}
    file = BytesIO()
    picture.save(file, format=output_format.value, **OPTIONS[output_format], **metadata)
    return file.getvalue()


def _metadata(output_format: OutputFormat, making: Making) -> dict[str, Any]:
    """Two text chunks in a PNG, Exif in the others, where AUTOMATIC1111's readers look for them."""
    if output_format is OutputFormat.PNG:
        chunks = PngInfo()
        chunks.add_text("parameters", making.parameters)
        chunks.add_text("darkroom", making.record)
        return {"pnginfo": chunks}
    return {"exif": exif(description=making.record, comment=making.parameters)}
