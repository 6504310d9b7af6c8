"""Problems as AUTOMATIC1111's clients expect errors: FastAPI's `detail`, and fields of its own."""

from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.compat.dialect import refusals, refusing_by, told_by
from api.problems import KINDS, Fault, Problem

#: What the fields of a job are called here.
NAMES = {
    "guidance_scale": "cfg_scale",
    "images": "batch_size",
    "model": "override_settings.sd_model_checkpoint",
}


def refusal(problem: Problem) -> JSONResponse:
    """The response for a problem."""
    told = told_by(NAMES, problem)
    detail = [_item(fault) for fault in told.errors] or told.detail
    return JSONResponse(
        {"error": problem.kind, "detail": detail, "body": "", "errors": told.detail},
        status_code=KINDS[problem.kind].status,
        headers=problem.headers,
    )


def _item(fault: Fault) -> dict[str, Any]:
    return {"loc": ["body", *fault.field.split(".")], "msg": fault.detail, "type": "value_error"}


class ErrorAnswer(BaseModel):
    """A refusal, as FastAPI and AUTOMATIC1111's own handler of exceptions tell it."""

    error: str = Field(description="The kind of problem; `GET /problems/{kind}` explains it.")
    detail: str | list[dict[str, Any]] = Field(description="What is wrong, or each field at fault.")
    body: str
    errors: str = Field(description="What is wrong, as a sentence.")


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that can end in these problems."""
    return refusals(ErrorAnswer, lambda kind: KINDS[kind].status, *kinds)


TranslatedRoute = refusing_by(refusal)
