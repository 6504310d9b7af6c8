"""What the command's exit code says."""

from enum import IntEnum
from typing import Final

from darkroom.errors import (
    ConfigurationError,
    DarkroomError,
    JobFailedError,
    PictureError,
    RefusedError,
    UnreachableError,
    WaitingError,
)


class ExitCode(IntEnum):
    """The table in docs/client.md."""

    OK = 0
    #: A picture cannot be read or saved.
    FILE = 1
    #: The command line or the configuration is wrong.
    USAGE = 2
    #: The service refused the request.
    REFUSED = 3
    #: The service or its storage does not answer.
    UNREACHABLE = 4
    #: The job failed or was canceled.
    JOB_FAILED = 5
    #: `--timeout` is over; the job goes on.
    TIMEOUT = 6
    #: Ctrl-C, as shells have it: 128 and the signal's number.
    INTERRUPTED = 130


_CODES: Final[dict[type[DarkroomError], ExitCode]] = {
    ConfigurationError: ExitCode.USAGE,
    JobFailedError: ExitCode.JOB_FAILED,
    PictureError: ExitCode.FILE,
    RefusedError: ExitCode.REFUSED,
    UnreachableError: ExitCode.UNREACHABLE,
    WaitingError: ExitCode.TIMEOUT,
}


def exit_code(error: DarkroomError) -> ExitCode:
    return _CODES[type(error)]
