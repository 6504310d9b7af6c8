"""`python -m api` serves the API."""

import asyncio
import gc
import sys

import uvicorn

from api.app import create_app
from api.serving import allow_files, options
from jobs.access.keyring import Keyring
from jobs.connection import connect
from jobs.errors import StoreUnavailableError
from jobs.exchange import Exchange
from jobs.settings import Settings, settings
from pipelines.errors import CatalogError


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    try:
        app = create_app(chosen)
    except CatalogError as error:
        sys.exit(f"darkroom-server: {error}")
    if not chosen.serves_anybody and asyncio.run(_is_without_keys(chosen)):
        sys.exit(
            f"darkroom-server: {chosen.host} can be reached from other machines and there is no "
            "API key yet; create one (darkroom-server keys create --tenant NAME), or set "
            "DARKROOM_ALLOW_ANONYMOUS=true to serve whoever asks"
        )
    allow_files(chosen)
    # What is there by now stays, and need not be looked through for garbage again and again.
    gc.freeze()
    uvicorn.run(app, **options(chosen))


async def _is_without_keys(chosen: Settings) -> bool:
    """False also while Redis is away: then nobody is served before it is back."""
    redis = connect(chosen)
    try:
        return not any(key.is_valid for key in await Keyring(Exchange(redis)).all())
    except StoreUnavailableError:
        return False
    finally:
        await redis.aclose()


if __name__ == "__main__":
    main()
