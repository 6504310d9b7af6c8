"""Pixels to files."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from jobs.model import OutputFormat
from worker.encoding import encode

PICTURE = Image.fromarray(
    np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8), "RGB"
)


@pytest.mark.parametrize(
    ("output_format", "loss"),
    [(OutputFormat.PNG, 0), (OutputFormat.WEBP, 4), (OutputFormat.JPEG, 4)],
)
def test_a_picture_survives_its_format(output_format: OutputFormat, loss: int) -> None:
    read = Image.open(BytesIO(encode(PICTURE, output_format)))
    assert read.format == output_format.value.upper()
    difference = np.abs(np.asarray(read, np.int16) - np.asarray(PICTURE, np.int16))
    assert difference.mean() <= loss
