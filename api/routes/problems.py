"""What each problem type means: the address in a problem's `type` leads here."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import problems
from api.problems import KINDS, Problem

router = APIRouter(prefix="/problems", tags=["problems"])


class ProblemKind(BaseModel):
    """One kind of refusal."""

    type: str
    title: str
    status: int
    remedy: str = Field(description="What to do about it.")


@router.get("/{kind}", summary="Explain a problem", responses=problems.responses("not-found"))
async def show(kind: str) -> ProblemKind:
    """What a problem of this type means, and what to do about it."""
    if kind not in KINDS:
        raise Problem("not-found", "there is no problem of this type")
    known = KINDS[kind]
    return ProblemKind(
        type=f"/problems/{kind}", title=known.title, status=known.status, remedy=known.remedy
    )
