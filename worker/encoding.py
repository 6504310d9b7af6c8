"""Pixels to a file's bytes."""

from io import BytesIO
from typing import Any

from PIL import Image

from jobs.model import OutputFormat

#: What Pillow is told for each format. PNG is lossless; 95 is where JPEG's loss stops being seen.
OPTIONS: dict[OutputFormat, dict[str, Any]] = {
    OutputFormat.PNG: {"compress_level": 4},
    OutputFormat.WEBP: {"quality": 95, "method": 4},
    OutputFormat.JPEG: {"quality": 95, "subsampling": 0},
}


def encode(picture: Image.Image, output_format: OutputFormat) -> bytes:
    """A picture as a PNG, WebP or JPEG file."""
    file = BytesIO()
    picture.save(file, format=output_format.value, **OPTIONS[output_format])
    return file.getvalue()
