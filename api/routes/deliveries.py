"""A job's webhooks: what they are, and what became of them."""

from typing import Annotated

from fastapi import APIRouter, Header, status
from pydantic import BaseModel

from api import problems
from api.access import Asking
from api.parts import Deps
from api.routes.jobs import checked
from jobs.exchange import Exchange
from jobs.webhooks.deliverer import JobEvent
from jobs.webhooks.deliveries import Deliveries
from jobs.webhooks.model import Delivery

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: The calls that we make, for OpenAPI to describe.
calls = APIRouter(tags=["webhooks"])


@calls.post("job", summary="A job has entered a state", status_code=status.HTTP_204_NO_CONTENT)
def told(
    event: JobEvent,
    webhook_id: Annotated[str, Header(description="The same at every attempt.")],
    webhook_timestamp: Annotated[int, Header(description="Unix time in s, of this attempt.")],
    webhook_signature: Annotated[str, Header(description="As in Standard Webhooks.")],
) -> None:
    """Sent to a job's `webhook`; any 2xx answer takes it."""


class DeliveryList(BaseModel):
    """The events of a job that its webhook was, is and will be told, as they happened."""

    deliveries: list[Delivery]


@router.get(
    "/{job_id}/deliveries",
    summary="Look at a job's webhooks",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def show(job_id: str, parts: Deps, caller: Asking) -> DeliveryList:
    """Each delivery with all its attempts, what the receiver answered, and when the next is due."""
    job = await parts.jobs.get(checked(job_id), tenant=caller.tenant)
    deliveries = Deliveries(Exchange(parts.jobs.redis))
    return DeliveryList(deliveries=await deliveries.of_job(job.id))
