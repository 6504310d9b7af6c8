"""Submitting twice under one key makes one job (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Submitting again with the same key and body answers with what is there.",
    ),
]


def fingerprint(key: str | None, request: BaseModel) -> str:
    """Tells whether a key is used again for the same request or for another one."""
    if key is None:
        return ""
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
