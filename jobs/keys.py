"""The names of everything Darkroom keeps in Redis, arq's own included."""

from typing import Final

from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix

#: A mark that the bucket was swept, for as long as that is lately.
PICTURE_SWEEP: Final = "darkroom:picture-sweep"
#: A sorted set of the deliveries that clients are owed, by when the next attempt is due.
WEBHOOKS: Final = "darkroom:webhooks"
#: A channel: one was added.
WEBHOOK_BELL: Final = "darkroom:webhook-bell"
#: A hash: the record of each API key, by its id.
API_KEYS: Final = "darkroom:api-keys"
#: A hash: how many jobs of each API key have not finished.
UNFINISHED_OF_KEYS: Final = "darkroom:unfinished-of-keys"
#: What the counters of rates begin with; the rest of their names is made by the library `limits`.
QUOTAS: Final = "darkroom:quotas"


def job(job_id: str) -> str:
    """A hash: the record of a job."""
    return f"darkroom:job:{job_id}"


def queue(model: str) -> str:
    """A sorted set of job ids: by place (below zero) or, while running, by lease's end."""
    return f"darkroom:queue:{model}"


def unfinished(model: str) -> str:
    """A set of job ids: what should be in the queue, whatever has become of the queue."""
    return f"darkroom:unfinished:{model}"


def served(model: str) -> str:
    """A hash: for each lane, the furthest place whose job was started (its virtual time)."""
    return f"darkroom:served:{model}"


def tenants(model: str) -> str:
    """A sorted set of `lane/tenant`, by where the tenant's last job in that lane ends."""
    return f"darkroom:tenants:{model}"


def load(model: str) -> str:
    """A counter: the work of all unfinished jobs."""
    return f"darkroom:load:{model}"


def pace(model: str) -> str:
    """A hash: the work done lately, the time that took, and when each worker last ended some."""
    return f"darkroom:pace:{model}"


def events(job_id: str) -> str:
    """A stream: what has happened to a job, for those who watch it."""
    return f"darkroom:events:{job_id}"


def changes(job_id: str) -> str:
    """A channel: something has happened to the job."""
    return f"darkroom:changes:{job_id}"


def deliveries(job_id: str) -> str:
    """A hash: for each event that a job's client is told of, what came of that so far."""
    return f"darkroom:deliveries:{job_id}"


def index(tenant: str) -> str:
    """A sorted set of a tenant's job ids, all of one score: ids sort by when they were made."""
    return f"darkroom:jobs:{tenant}"


def batch(batch_id: str) -> str:
    """A hash: the jobs that were submitted together."""
    return f"darkroom:batch:{batch_id}"


def idempotency(tenant: str, key: str) -> str:
    """A hash: what a tenant submitted under an idempotency key, and its fingerprint."""
    return f"darkroom:idempotency:{tenant}:{key}"


def caller_jobs(caller: str) -> str:
    """A hash: the jobs that a caller of the AUTOMATIC1111 API waits for, and his names for them."""
    return f"darkroom:automatic1111:{caller}:jobs"


def caller_options(caller: str) -> str:
    """A hash: the options that a caller of the AUTOMATIC1111 API has set."""
    return f"darkroom:automatic1111:{caller}:options"


def bell(model: str) -> str:
    """A channel: a job of the model was put in line."""
    return f"darkroom:bell:{model}"


def workers(model: str) -> str:
    """A sorted set of worker ids that serve a model, by the time they were last seen."""
    return f"darkroom:workers:{model}"


def definition(job_id: str) -> str:
    """arq's definition of a job: which function to call, with what."""
    return f"{job_key_prefix}{job_id}"


def in_progress(job_id: str) -> str:
    """arq's mark that a job runs; we let it live exactly as long as the lease."""
    return f"{in_progress_key_prefix}{job_id}"


def tries(job_id: str) -> str:
    """arq's own count of starts, which we do not use."""
    return f"{retry_key_prefix}{job_id}"


def of_job(job_id: str, model: str) -> list[str]:
    """The keys that every script on a job gets, in the order that the scripts name them."""
    return [
        job(job_id),
        queue(model),
        definition(job_id),
        in_progress(job_id),
        tries(job_id),
        unfinished(model),
        bell(model),
        served(model),
        tenants(model),
        load(model),
        pace(model),
        events(job_id),
        changes(job_id),
    ]


def of_webhook(job_id: str) -> list[str]:
    """What a script that may owe a webhook gets besides."""
    return [WEBHOOKS, WEBHOOK_BELL, deliveries(job_id)]
