"""What can go wrong with a job, apart from the picture itself."""

from jobs.model import JobStatus


class JobError(Exception):
    """The family of every error raised here."""


class JobNotFoundError(JobError):
    """There is no job of that id; it never was, or its record has expired."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id}")
        self.job_id = job_id


class TransitionError(JobError):
    """The job is in a state from which the wanted one cannot be reached."""

    def __init__(self, job_id: str, status: JobStatus, wanted: JobStatus) -> None:
        super().__init__(f"job {job_id} is {status} and cannot become {wanted}")
        self.job_id, self.status, self.wanted = job_id, status, wanted


class LeaseLostError(JobError):
    """The caller no longer holds the job; whatever it wanted to write was refused."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the lease on job {job_id} is lost")
        self.job_id = job_id


class IdempotencyError(JobError):
    """The idempotency key was used before, for something else."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another request")
        self.key = key


class QueueFullError(JobError):
    """A model has as many unfinished jobs, or as much work, as it may have."""

    def __init__(self, model: str, detail: str, limit: int, retry_after_s: int) -> None:
        super().__init__(f"{model} {detail}")
        self.model, self.limit, self.retry_after_s = model, limit, retry_after_s


class KeyNotFoundError(JobError):
    """There is no API key of that id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id}")
        self.key_id = key_id


class QuotaExceededError(JobError):
    """The caller has used up one of its key's limits, for now."""

    def __init__(self, policy: str, limit: int, retry_after_s: int) -> None:
        super().__init__(f"this key is limited to {limit} {policy.replace('-', ' ')}")
        self.policy, self.limit, self.retry_after_s = policy, limit, retry_after_s


class RequestOverLimitError(JobError):
    """The caller asks for more at once than one of its key's limits ever has room for."""

    def __init__(self, policy: str, limit: int, cost: int) -> None:
        limited = f"this key is limited to {limit} {policy.replace('-', ' ')}"
        super().__init__(f"{limited}, and {cost} at once never fit in")
        self.policy, self.limit = policy, limit


class WebhookRefusedError(JobError):
    """The request names a webhook that this service will not call."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail = field, detail


class StoreUnavailableError(JobError):
    """Redis or the picture store does not answer; the caller may try again."""


class NewerRecordError(StoreUnavailableError):
    """The job was recorded by a newer version of the service, whose processes know it."""

    def __init__(self, job_id: str, version: int) -> None:
        super().__init__(f"job {job_id} was recorded by a newer version (layout {version})")
        self.job_id, self.version = job_id, version
