"""The web page: a client in the browser that needs nothing from anywhere else."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from jobs.settings import Settings

FOLDER = Path(__file__).parent.parent / "page"


def install(app: FastAPI, settings: Settings) -> None:
    """Serve the page at `/`, and its files under `/page`."""
    pictures = settings.s3_public_endpoint or settings.s3_endpoint or "https:"
    # Whatever a prompt or an answer may hold, the browser runs and fetches nothing but ours;
    # previews come as data.
    headers = {
        "Content-Security-Policy": f"default-src 'self'; img-src 'self' data: {pictures}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    }

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(FOLDER / "index.html", headers=headers)

    app.mount("/page", StaticFiles(directory=FOLDER), name="page")
