"""Problems as OpenAI's clients expect errors: each status becomes an exception of theirs."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Response

from api.compat.dialect import refusals, told_by
from api.compat.openai.model import ErrorBody, ErrorDetail
from api.problems import KINDS, Problem

#: What the fields of a job are called here.
NAMES = {"width": "size", "height": "size", "images": "n"}


@dataclass(frozen=True, kw_only=True)
class Error:
    """How a kind of problem is told."""

    type: str
    code: str
    #: The problem's own by default.
    status: HTTPStatus | None = None


_INVALID = "invalid_request_error"

#: Whatever is not listed is a `server_error`.
ERRORS: dict[str, Error] = {
    "malformed-json": Error(type=_INVALID, code="invalid_json"),
    "invalid-request": Error(type=_INVALID, code="invalid_value", status=HTTPStatus.BAD_REQUEST),
    "prompt-blocked": Error(
        type=_INVALID, code="content_policy_violation", status=HTTPStatus.BAD_REQUEST
    ),
    "body-too-large": Error(type=_INVALID, code="request_too_large"),
    "unauthenticated": Error(type=_INVALID, code="invalid_api_key"),
    "forbidden": Error(type=_INVALID, code="insufficient_permissions"),
    "quota-exceeded": Error(type="rate_limit_error", code="rate_limit_exceeded"),
    "queue-full": Error(type="rate_limit_error", code="rate_limit_exceeded"),
}


UNKNOWN_MODEL = Error(type=_INVALID, code="model_not_found", status=HTTPStatus.NOT_FOUND)


def body_of(problem: Problem) -> ErrorBody:
    """What is told of a problem."""
    told, error = told_by(NAMES, problem), _error_of(problem)
    first = told.errors[0].field if told.errors else None
    return ErrorBody(
        error=ErrorDetail(message=told.detail, type=error.type, param=first, code=error.code)
    )


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that can end in these problems."""
    return refusals(ErrorBody, _status_of, *kinds)


def refusal(problem: Problem) -> Response:
    """The response for a problem."""
    return Response(
        body_of(problem).model_dump_json(),
        status_code=_error_of(problem).status or _status_of(problem.kind),
        headers=problem.headers,
        media_type="application/json",
    )


def _status_of(kind: str) -> HTTPStatus:
    return (ERRORS[kind].status if kind in ERRORS else None) or KINDS[kind].status


def _error_of(problem: Problem) -> Error:
    if problem.kind == "invalid-request" and problem.errors[0].field == "model":
        return UNKNOWN_MODEL
    return ERRORS.get(problem.kind, Error(type="server_error", code=problem.kind))
