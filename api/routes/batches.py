"""Many jobs in one request: a list of them, or a grid of parameters."""

import itertools
import math
from typing import Annotated, Any, Self

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api import problems
from api.access import Asking
from api.admission import admit
from api.idempotency import IdempotencyKey, fingerprint
from api.parts import Deps, Parts
from api.problems import Fault, Problem, fault_of, invalid_request
from api.routes.jobs import checked
from jobs.model import MAX_BATCH, AdmittedRequest, Batch, JobRequest

router = APIRouter(prefix="/v1/batches", tags=["batches"])

#: Of a thousand jobs with the same fault, so many are told.
MOST_FAULTS = 20


class BatchRequest(BaseModel):
    """Either `jobs`, or a `grid` whose every combination is a job."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"jobs": [{"prompt": "a red circle"}, {"prompt": "a blue star"}]},
                {
                    "base": {"steps": 20},
                    "grid": {"prompt": ["a red circle", "a blue star"], "seed": [1, 2, 3]},
                },
            ]
        },
    )

    jobs: Annotated[list[JobRequest], Field(min_length=1, max_length=MAX_BATCH)] | None = None
    base: dict[str, Any] = Field({}, description="What all jobs of a grid have in common.")
    grid: dict[str, Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH)]] | None = Field(
        None, description="Fields of a job, each with the values that it takes in turn."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.jobs is None) == (self.grid is None):
            raise ValueError("a batch has either jobs or a grid")
        if self.grid and math.prod(map(len, self.grid.values())) > MAX_BATCH:
            raise ValueError(f"a grid has at most {MAX_BATCH} combinations")
        return self

    def requests(self) -> list[JobRequest]:
        """Every job of the batch; a grid's last field turns fastest.

        Raises:
            Problem: `invalid-request`, when a combination makes no job.
        """
        if self.grid is None:
            return self.jobs or []
        combinations = itertools.product(*self.grid.values())
        try:
            return [
                JobRequest.model_validate(
                    {**self.base, **dict(zip(self.grid, values, strict=True))}
                )
                for values in combinations
            ]
        except ValidationError as error:
            faults = [fault_of({**item, "loc": ("body", *item["loc"])}) for item in error.errors()]
            raise invalid_request(faults) from None


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit many jobs",
    responses=problems.responses(*problems.OF_SUBMITS),
)
async def submit(
    request: BatchRequest,
    parts: Deps,
    caller: Asking,
    idempotency_key: IdempotencyKey = None,
) -> Batch:
    """Put up to a thousand jobs in line: all of them, or none."""
    return await parts.jobs.submit_batch(
        _admitted(request.requests(), parts),
        caller=caller,
        idempotency_key=idempotency_key or "",
        fingerprint=fingerprint(idempotency_key, request),
    )


@router.get(
    "/{batch_id}",
    summary="Look at a batch",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def show(batch_id: str, parts: Deps, caller: Asking) -> Batch:
    """How many of its jobs stand where. `GET /v1/jobs?batch=` lists them."""
    return await parts.jobs.get_batch(checked(batch_id), tenant=caller.tenant)


@router.post(
    "/{batch_id}/cancel",
    summary="Stop a batch",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def cancel(batch_id: str, parts: Deps, caller: Asking) -> Batch:
    """Stop every job of it that has not finished."""
    return await parts.jobs.cancel_batch(checked(batch_id), tenant=caller.tenant)


def _admitted(requests: list[JobRequest], parts: Parts) -> list[AdmittedRequest]:
    """Check every job, and tell of every fault which job has it.

    Raises:
        Problem: `invalid-request`.
    """
    admitted, faults = [], list[Fault]()
    for number, request in enumerate(requests):
        try:
            admitted.append(admit(request, parts.catalog, parts.blocklists))
        except Problem as problem:
            faults += [
                fault.model_copy(update={"field": f"jobs.{number}.{fault.field}"})
                for fault in problem.errors
            ]
    if faults:
        raise invalid_request(faults[:MOST_FAULTS])
    return admitted
