"""The options: those that are honoured are kept for each caller, all others have no effect."""

from typing import Any, Final

from fastapi import APIRouter

from api.compat.automatic1111.errors import TranslatedRoute, responses
from api.compat.automatic1111.session import CallerSession
from api.compat.automatic1111.settings import CHECKPOINT, FORMAT, HONOURED, NOTHING, faults_of
from api.parts import Deps
from api.problems import invalid_request

router = APIRouter(route_class=TranslatedRoute)

#: What clients look for, and cannot change.
FIXED: Final[dict[str, Any]] = {
    "CLIP_stop_at_last_layers": 1,
    "eta_noise_seed_delta": 0,
    "live_previews_enable": True,
    "live_previews_image_format": "webp",
    "sd_checkpoint_hash": None,
    "sd_vae": "Automatic",
}


@router.get("/options", summary="The caller's options", responses=responses("unavailable"))
async def options(parts: Deps, session: CallerSession) -> dict[str, Any]:
    """What the next request takes, unless it overrides it."""
    defaults = {CHECKPOINT: next(iter(parts.catalog)), FORMAT: "png"}
    return {**FIXED, **defaults, **await session.options()}


@router.post(
    "/options",
    summary="Set options for the caller",
    responses=responses("malformed-json", "body-too-large", "invalid-request", "unavailable"),
)
async def set_options(changes: dict[str, Any], parts: Deps, session: CallerSession) -> None:
    """Of effect are `sd_model_checkpoint` and `samples_format`, for this caller alone."""
    if faults := list(faults_of(changes, parts.catalog)):
        raise invalid_request(faults)
    kept = {name: changes[name] for name in HONOURED if changes.get(name) not in NOTHING}
    await session.set_options(kept)
