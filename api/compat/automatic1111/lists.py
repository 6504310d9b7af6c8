"""What there is: models, samplers and schedule types, and the machine's memory."""

import os
from typing import Any

from fastapi import APIRouter

from api.compat.automatic1111.errors import TranslatedRoute
from api.compat.automatic1111.samplers import SCHEDULE_TYPES
from api.parts import Deps

router = APIRouter(route_class=TranslatedRoute)


@router.get("/sd-models", summary="The models of the catalogue")
async def sd_models(parts: Deps) -> list[dict[str, Any]]:
    """A model's title is its name, which `sd_model_checkpoint` takes."""
    return [
        {
            "title": name,
            "model_name": name,
            "hash": None,
            "sha256": None,
            "filename": name,
            "config": None,
        }
        for name in parts.catalog
    ]


@router.get("/samplers", summary="The schedulers of all models")
async def samplers(parts: Deps) -> list[dict[str, Any]]:
    """Each model takes those that `GET /v1/models` lists with it."""
    names = dict.fromkeys(name for spec in parts.catalog.values() for name in spec.schedulers)
    return [{"name": name, "aliases": [], "options": {}} for name in names]


@router.get("/schedulers", summary="The schedule types")
async def schedulers() -> list[dict[str, Any]]:
    """How a sampler's noise levels are spaced."""
    return [
        {
            "name": name,
            "label": label,
            "aliases": None,
            "default_rho": -1,
            "need_inner_model": False,
        }
        for name, label in SCHEDULE_TYPES.items()
    ]


@router.get("/memory", summary="The memory of the API's machine")
async def memory() -> dict[str, Any]:
    """In bytes. The workers' GPUs are not looked at from here."""
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    return {
        "ram": {"free": free, "used": total - free, "total": total},
        "cuda": {"error": "unavailable"},
    }
