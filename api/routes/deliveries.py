"""What became of a job's webhooks."""

from fastapi import APIRouter
from pydantic import BaseModel

from api import problems
from api.parts import Deps
from api.routes.jobs import checked
from jobs.exchange import Exchange
from jobs.webhooks.deliveries import Deliveries
from jobs.webhooks.model import Delivery

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class DeliveryList(BaseModel):
    """The events of a job that its webhook was, is and will be told, as they happened."""

    deliveries: list[Delivery]


@router.get(
    "/{job_id}/deliveries",
    summary="Look at a job's webhooks",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def show(job_id: str, parts: Deps) -> DeliveryList:
    """Each delivery with all its attempts, what the receiver answered, and when the next is due."""
    job = await parts.jobs.get(checked(job_id))
    deliveries = Deliveries(Exchange(parts.jobs.redis))
    return DeliveryList(deliveries=await deliveries.of_job(job.id))
