"""What the routes of another API have in common: their requests and refusals are put into words."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from api.problems import KINDS, Problem, invalid_request, problem_of
from jobs.model import JobRequest

Route = Callable[[Request], Coroutine[Any, Any, Response]]
Refusal = Callable[[Problem], Response]

#: What can become of every request for pictures.
OF_PICTURES: Final = (
    *("malformed-json", "invalid-request", "body-too-large", "prompt-blocked", "queue-full"),
    *("too-many-waiters", "unavailable"),
    *("job-not-found", "job-failed", "job-canceled", "timed-out"),
)


def refusing_by(refusal: Refusal) -> type[APIRoute]:
    """The class of routes whose every error is answered in another API's form."""

    class TranslatedRoute(APIRoute):
        def get_route_handler(self) -> Route:
            answer = super().get_route_handler()

            async def answer_or_refuse(request: Request) -> Response:
                try:
                    return await answer(request)
                except Exception as error:
                    return refusal(problem_of(request, error))

            return answer_or_refuse

    return TranslatedRoute


def job_request(fields: Mapping[str, Any]) -> JobRequest:
    """
    Raises:
        RequestValidationError: a field breaks a limit that holds for every model.
    """
    try:
        return JobRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        ) from error


def refusals(
    body: type[BaseModel], status_of: Callable[[str], int], *kinds: str
) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that can end in these problems, told in another API's form.

    Args:
        status_of: the status that a kind of problem has there.
    """
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(status_of(kind), []).append(KINDS[kind].title)
    return {
        status: {"model": body, "description": ". ".join(titles) + "."}
        for status, titles in by_status.items()
    }


def told_by(names: Mapping[str, str], problem: Problem) -> Problem:
    """A problem that calls the fields of a job by their names in the other API."""
    if problem.kind != "invalid-request":
        return problem
    return invalid_request(
        [
            fault.model_copy(update={"field": names.get(fault.field, fault.field)})
            for fault in problem.errors
        ]
    )
