"""What can go wrong, as a list to read."""

from darkroom.model import Fault, Job


class DarkroomError(Exception):
    """The family of every error raised here."""


class ConfigurationError(DarkroomError):
    """The address, the key or the file that holds them cannot be used."""


class UnreachableError(DarkroomError):
    """The service, or the storage that holds its pictures, does not answer at its address."""


class RefusedError(DarkroomError):
    """The service answered with a problem (RFC 9457); `errors` names the fields at fault."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: tuple[Fault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.errors = status, kind, detail, errors
        #: When the service would have the request again.
        self.retry_after_s = retry_after_s


class JobFailedError(DarkroomError):
    """The job ended without its pictures."""

    def __init__(self, job: Job) -> None:
        reason = job.error.detail if job.error else f"it was {job.status}"
        super().__init__(f"job {job.id} has no pictures: {reason}")
        self.job = job


class WaitingError(DarkroomError):
    """The time to wait is over, and the job has not finished; it goes on."""


class PictureError(DarkroomError):
    """A file is no picture that can be read, or its bytes are not those that were stored."""


def with_pictures(job: Job) -> Job:
    """A finished job, when it has its pictures.

    Raises:
        JobFailedError: it has none.
    """
    if job.status != "succeeded":
        raise JobFailedError(job)
    return job
