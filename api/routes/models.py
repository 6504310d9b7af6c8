"""Which models there are, and what each takes."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import problems
from api.parts import Deps
from jobs import queue
from jobs.connection import redis_errors
from pipelines.catalog import (
    Family,
    GuidanceLimits,
    ModelSpec,
    SizeLimits,
    StepLimits,
    TemperatureLimits,
    TopKLimits,
    TopPLimits,
)

router = APIRouter(prefix="/v1/models", tags=["models"])


class Model(BaseModel):
    """A model as clients see it: its limits, and whether anybody serves it."""

    name: str
    title: str
    family: Family
    licence: str
    size: SizeLimits
    options: tuple[str, ...] = Field(
        description="What a job may choose beside its prompt, size and seed."
    )
    steps: StepLimits
    guidance_scale: GuidanceLimits
    temperature: TemperatureLimits | None
    top_p: TopPLimits | None
    top_k: TopKLimits | None
    schedulers: tuple[str, ...] = Field(description="What a job's `scheduler` may name.")
    workers: int = Field(description="How many workers serve it now; with 0, its jobs wait.")


class ModelName(BaseModel):
    """A name that a job can give as its model, as OpenAI's API lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "darkroom"


class ModelList(BaseModel):
    """The models on offer; the first is the default."""

    models: list[Model]
    object: Literal["list"] = "list"
    data: list[ModelName] = Field(
        description="Names for clients of OpenAI's: those of the models, and their aliases."
    )


@router.get("", summary="List the models", responses=problems.responses("unavailable"))
async def index(parts: Deps) -> ModelList:
    """Every model that a job can name, with its limits and defaults."""
    with redis_errors():
        workers = await queue.workers(parts.jobs.redis, list(parts.catalog))
    names = [*parts.catalog, *parts.settings.openai_model_aliases]
    return ModelList(
        models=[_model(spec, workers[name]) for name, spec in parts.catalog.items()],
        data=[ModelName(id=name) for name in names],
    )


def _model(spec: ModelSpec, workers: int) -> Model:
    shown = {name: getattr(spec, name) for name in Model.model_fields if name != "workers"}
    return Model(workers=workers, **shown)
