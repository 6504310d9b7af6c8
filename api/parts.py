"""What the routes need, made once when the application starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.blocklist import Blocklist
from api.waiters import Waiters
from jobs.access.keyring import Keyring
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.storage import PictureStore
from jobs.store import JobStore
from pipelines.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The catalogue and its blocklists, the stores, the keys, the ear on Redis, and the waiters."""

    settings: Settings
    catalog: Catalog
    blocklists: Mapping[str, Blocklist]
    jobs: JobStore
    pictures: PictureStore
    keyring: Keyring
    signals: Signals
    waiters: Waiters


async def _parts(request: Request) -> Parts:
    """Not a plain function: FastAPI would call that on another thread, for every request."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


Deps = Annotated[Parts, Depends(_parts)]
