"""Which methods an address takes, by the service's own description of itself."""

import re
from functools import lru_cache

from fastapi import Request
from starlette.routing import compile_path


def methods_at(request: Request) -> list[str]:
    """Every method that the address of a request takes; none where nothing is described.

    A router answers for the first of its routes that fits the address, and knows only that one's.
    """
    path = request.scope["path"]
    return sorted(
        {
            method.upper()
            for template, operations in request.app.openapi()["paths"].items()
            if _pattern(template).match(path)
            for method in operations
        }
    )


@lru_cache(maxsize=256)
def _pattern(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]
