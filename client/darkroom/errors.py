"""What can go wrong, as a list to read."""

from darkroom.model import Fault, Job


class DarkroomError(Exception):
    """The family of every error raised here."""


class UnreachableError(DarkroomError):
    """The service does not answer at its address."""


class RefusedError(DarkroomError):
    """The service answered with a problem (RFC 9457); `errors` names the fields at fault."""

    def __init__(self, status: int, kind: str, detail: str, errors: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.errors = status, kind, detail, errors


class JobFailedError(DarkroomError):
    """The job ended without its pictures."""

    def __init__(self, job: Job) -> None:
        reason = job.error.detail if job.error else f"it was {job.status}"
        super().__init__(f"job {job.id} has no pictures: {reason}")
        self.job = job
