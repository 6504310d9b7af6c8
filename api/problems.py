"""Everything a client can be refused for, as RFC 9457 problems. The table is the documentation."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.methods import methods_at
from jobs.errors import (
    IdempotencyError,
    JobError,
    JobNotFoundError,
    QueueFullError,
    QuotaExceededError,
    RequestOverLimitError,
    StoreUnavailableError,
    WebhookRefusedError,
)

log = logging.getLogger("darkroom.api")

MEDIA_TYPE = "application/problem+json"
BODY_SCHEMA = "#/components/schemas/ProblemBody"
#: How long a client should wait before it tries again when Redis or S3 is away.
RETRY_AFTER_S = 2


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of problem: what every occurrence of it has in common."""

    status: HTTPStatus
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "malformed-json": Kind(
        status=HTTPStatus.BAD_REQUEST,
        title="The body is not JSON",
        remedy="Send one JSON object, encoded as UTF-8.",
    ),
    "invalid-request": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="The request breaks a limit",
        remedy="Mend each field listed under `errors`; its limit stands beside it.",
    ),
    "body-too-large": Kind(
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        title="The body is too large",
        remedy="Send less; the limit is the setting DARKROOM_MAX_BODY_BYTES.",
    ),
    "unauthenticated": Kind(
        status=HTTPStatus.UNAUTHORIZED,
        title="There is no valid API key",
        remedy="Send one as `Authorization: Bearer dk_...`. Operators make them with "
        "`darkroom-server keys create`.",
    ),
    "forbidden": Kind(
        status=HTTPStatus.FORBIDDEN,
        title="The API key may not do this",
        remedy="Use a key with the scope that the detail names.",
    ),
    "quota-exceeded": Kind(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        title="The API key has used up one of its limits",
        remedy="Try again after `Retry-After` seconds. `RateLimit` tells what is left of each.",
    ),
    "head-too-large": Kind(
        status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        title="The address and the headers are too large",
        remedy="Send 64 KiB of them at most.",
    ),
    "request-timeout": Kind(
        status=HTTPStatus.REQUEST_TIMEOUT,
        title="The request did not arrive in time",
        remedy="Send it faster; the limit is the setting DARKROOM_REQUEST_TIMEOUT_S.",
    ),
    "too-many-connections": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="There are as many connections as there may be",
        remedy="Try again after `Retry-After` seconds; the limit is the setting "
        "DARKROOM_MAX_CONNECTIONS, for each API process.",
    ),
    "too-many-waiters": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="As many clients are waiting for jobs as may",
        remedy="Ask without waiting, or try again after `Retry-After` seconds; the limit is the "
        "setting DARKROOM_MAX_WAITERS, for each API process.",
    ),
    "job-not-found": Kind(
        status=HTTPStatus.NOT_FOUND,
        title="There is no such job",
        remedy="Check the id. Finished jobs are forgotten after DARKROOM_RETENTION_S.",
    ),
    "not-found": Kind(
        status=HTTPStatus.NOT_FOUND,
        title="There is nothing at this address",
        remedy="See /docs for what there is.",
    ),
    "method-not-allowed": Kind(
        status=HTTPStatus.METHOD_NOT_ALLOWED,
        title="The address does not take this method",
        remedy="Use a method of the `Allow` header.",
    ),
    "idempotency-key-reused": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="The idempotency key was used for another request",
        remedy="Use a new key for a new request, and the same body with the same key.",
    ),
    "prompt-blocked": Kind(
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        title="The prompt asks for what this service does not make",
        remedy="Leave out what the detail names.",
    ),
    "queue-full": Kind(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        title="The model has as much unfinished work as it may have",
        remedy="Try again after `Retry-After` seconds: by then, at the measured pace, there is "
        "room. The limits are DARKROOM_QUEUE_MAX_JOBS and DARKROOM_QUEUE_MAX_WORK.",
    ),
    "unavailable": Kind(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="A part of the service does not answer",
        remedy="Try again after `Retry-After` seconds.",
    ),
    "job-failed": Kind(
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        title="The job has failed",
        remedy="The detail says why; the job's record holds the history of its attempts.",
    ),
    "job-canceled": Kind(
        status=HTTPStatus.CONFLICT,
        title="The job was canceled before its pictures were there",
        remedy="Ask again, if it was not you who canceled it.",
    ),
    "timed-out": Kind(
        status=HTTPStatus.GATEWAY_TIMEOUT,
        title="The pictures were not there in time",
        remedy="Submit it to `POST /v1/jobs`, which does not hold the answer, or raise "
        "DARKROOM_COMPAT_WAIT_S.",
    ),
    "internal-error": Kind(
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        title="Something went wrong on our side",
        remedy="Try again; the service's log holds the cause.",
    ),
}


#: What every way of submitting jobs can end in.
OF_SUBMITS = (
    "malformed-json",
    "body-too-large",
    "invalid-request",
    "prompt-blocked",
    # Under an earlier idempotency key, whose job has been deleted since.
    "job-not-found",
    "idempotency-key-reused",
    "queue-full",
    "quota-exceeded",
    "unavailable",
)


class Fault(BaseModel):
    """One field of a request, and what is wrong with it."""

    field: str = Field(description="Where in the request, with dots: `prompt`.")
    detail: str = Field(description="What is wrong, as a sentence.")
    limit: Any = Field(None, description="The limit it breaks, when there is one.")


class ProblemBody(BaseModel):
    """A refusal (RFC 9457)."""

    type: str = Field(examples=["/problems/invalid-request"])
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


class Problem(HTTPException):
    """Raise it anywhere in a route to refuse the request."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(KINDS[kind].status, detail, headers)
        self.kind = kind
        self.errors = list(errors)

    def response(self) -> JSONResponse:
        kind = KINDS[self.kind]
        body = ProblemBody(
            type=f"/problems/{self.kind}",
            title=kind.title,
            status=kind.status,
            detail=self.detail,
            errors=self.errors,
        )
        return JSONResponse(
            body.model_dump(mode="json", exclude_defaults=True),
            status_code=kind.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def invalid_request(faults: Sequence[Fault]) -> Problem:
    """A refusal that names each field at fault."""
    detail = "; ".join(f"{fault.field}: {fault.detail}" for fault in faults)
    return Problem("invalid-request", detail, errors=faults)


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that can end in these problems."""
    told: dict[int | str, dict[str, Any]] = {}
    for kind in map(KINDS.__getitem__, kinds):
        response = told.setdefault(int(kind.status), {"description": ""})
        response["description"] += f"{kind.title}. {kind.remedy} "
        response["content"] = {MEDIA_TYPE: {"schema": {"$ref": BODY_SCHEMA}}}
    return told


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        return problem_of(request, error).response()

    for kind in (HTTPException, RequestValidationError, JobError, Exception):
        app.add_exception_handler(kind, answer)


def problem_of(request: Request, error: Exception) -> Problem:
    """What an error that ended a route is to the client."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return _from_http(request, error)
        case RequestValidationError():
            return _from_validation(error)
        case JobNotFoundError():
            return Problem("job-not-found", str(error))
        case IdempotencyError():
            return Problem("idempotency-key-reused", str(error))
        case QueueFullError():
            fault = Fault(field="model", detail=str(error), limit=error.limit)
            headers = {"Retry-After": str(error.retry_after_s)}
            return Problem("queue-full", str(error), errors=[fault], headers=headers)
        case QuotaExceededError():
            fault = Fault(field=error.policy, detail=str(error), limit=error.limit)
            headers = {"Retry-After": str(error.retry_after_s)}
            return Problem("quota-exceeded", str(error), errors=[fault], headers=headers)
        case RequestOverLimitError():
            return invalid_request(
                [Fault(field=error.policy, detail=str(error), limit=error.limit)]
            )
        case WebhookRefusedError():
            return invalid_request([Fault(field=error.field, detail=error.detail)])
        case ClientDisconnect():
            return Problem("malformed-json", "the body ended too soon")
        case StoreUnavailableError():
            log.warning("%s", error)
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            return Problem("unavailable", str(error), headers=headers)
        case _:
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
            return Problem("internal-error", KINDS["internal-error"].title)


def _from_http(request: Request, error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return Problem("not-found", f"there is nothing at {request.url.path}")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return method_not_allowed(request, methods_at(request) or [headers.get("Allow", "")])
        case HTTPStatus.BAD_REQUEST:
            # FastAPI's answer to a body that is not even text.
            return Problem("malformed-json", "the body cannot be read as JSON")
        case _:
            return Problem("internal-error", str(error.detail))


def method_not_allowed(request: Request, taken: Sequence[str]) -> Problem:
    """The refusal of a method where others are taken."""
    allowed = ", ".join(taken)
    detail = f"{request.url.path} takes {allowed}, not {request.method}"
    return Problem("method-not-allowed", detail, headers={"Allow": allowed})


def _from_validation(error: RequestValidationError) -> Problem:
    faults = [fault_of(item) for item in error.errors()]
    broken = next((item for item in error.errors() if item["type"] == "json_invalid"), None)
    if broken is not None:
        where = broken["loc"][-1]
        return Problem("malformed-json", f"the body is not JSON from character {where} on")
    return invalid_request(faults)


#: Where pydantic keeps the limit that a value broke.
_LIMITS = ("max_length", "min_length", "le", "ge", "lt", "gt", "expected", "pattern")


def fault_of(item: Mapping[str, Any]) -> Fault:
    """A fault as pydantic tells it."""
    # The first part of the location says body, path or query, which the client knows.
    field = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    context = item.get("ctx", {})
    limit = next((context[name] for name in _LIMITS if name in context), None)
    detail = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        detail = "There is no field of this name"
    return Fault(field=field, detail=detail, limit=limit)
