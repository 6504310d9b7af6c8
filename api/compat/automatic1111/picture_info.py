"""`png-info`: what a picture carries of its making."""

import asyncio
import base64
import struct
import warnings
from io import BytesIO
from typing import Any, Final

from fastapi import APIRouter
from PIL import Image

from api.compat.automatic1111.errors import TranslatedRoute, responses
from api.compat.automatic1111.model import PictureInfo, PictureInfoRequest
from api.problems import Fault, invalid_request
from jobs.infotext import parsed

router = APIRouter(route_class=TranslatedRoute)

#: Where a body may be as large as a picture.
PATH: Final = "/sdapi/v1/png-info"
#: The form that each picture's text has (CIPA DC-008, "Exif 2.32", `UserComment`).
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
#: More pixels than any picture has; from half of that on Pillow only warns.
BOMBS: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)
warnings.simplefilter("error", Image.DecompressionBombWarning)
ENCODINGS: Final = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}


@router.post(
    "/png-info",
    summary="What a picture tells of its making",
    responses=responses("malformed-json", "body-too-large", "invalid-request"),
)
async def png_info(asked: PictureInfoRequest) -> PictureInfo:
    """PNG text, or the Exif comment of a JPEG or WebP."""
    texts = await asyncio.to_thread(read_texts, asked.image)
    info = texts.pop("parameters", "")
    return PictureInfo(info=info, items=texts, parameters=parsed(info))


def read_texts(image: str) -> dict[str, str]:
    """The texts of a picture by name; its pixels are not decoded.

    Raises:
        Problem: `invalid-request`: it is no picture.
    """
    try:
        content = base64.b64decode(image.rpartition(",")[2])
        with Image.open(BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            info: dict[Any, Any] = picture.info
    except (ValueError, OSError, SyntaxError, struct.error, *BOMBS):
        detail = "Send a PNG, JPEG or WebP file in base64"
        raise invalid_request([Fault(field="image", detail=detail)]) from None
    texts = {str(name): str(text) for name, text in info.items() if isinstance(text, str)}
    return texts | _comment(info.get("exif", b""))


def _comment(exif: bytes) -> dict[str, str]:
    block = Image.Exif()
    try:
        block.load(exif)
        comment = block.get_ifd(EXIF_IFD).get(USER_COMMENT, b"")
    except (ValueError, OSError, SyntaxError, struct.error, TypeError, KeyError):
        # A block that is broken tells nothing.
        return {}
    encoding = ENCODINGS.get(comment[:8]) if isinstance(comment, bytes) else None
    if encoding is None:
        return {}
    return {"parameters": comment[8:].decode(encoding, errors="replace")}
