"""The names of everything Darkroom keeps in Redis, arq's own included."""

from typing import Final

from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix

#: A counter: each submitted job draws its place in line from it.
PLACES: Final = "darkroom:places"


def job(job_id: str) -> str:
    """A hash: the record of a job."""
    return f"darkroom:job:{job_id}"


def queue(model: str) -> str:
    """A sorted set of job ids: by place while waiting, by their lease's end while running."""
    return f"darkroom:queue:{model}"


def started(model: str) -> str:
    """A set of job ids that a worker has claimed and that have not finished."""
    return f"darkroom:started:{model}"


def idempotency(key: str) -> str:
    """A hash: the job that was submitted under an idempotency key, and what was asked."""
    return f"darkroom:idempotency:{key}"


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
        started(model),
        bell(model),
    ]
