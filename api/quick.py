"""A way past FastAPI for the calls that are made most, as long as they are as usual.

FastAPI finds out anew, for each call, which route it is for and what kind of thing each argument
is; that takes longer than everything a poll does besides.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_of

Reading = tuple[str, TypeAdapter[Any]]


class QuickLane:
    """ASGI middleware, innermost: calls some routes' endpoints by itself.

    Such an endpoint makes its own `Response`, its query may be left out, and what it depends on may
    itself depend on the request alone. A call is left to FastAPI when it has a query, or anything
    that is not valid: FastAPI then says what.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self._ways = [_Way.to(route) for route in routes if isinstance(route, APIRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["query_string"] or scope["root_path"]:
            return await self.app(scope, receive, send)
        for way in self._ways:
            if scope["method"] in way.methods and (found := way.path.match(scope["path"])):
                break
        else:
            return await self.app(scope, receive, send)
        scope["route"] = way.route
        request, body = Request(scope, receive), b""
        try:
            if way.body:
                body = await request.body()
            arguments = way.read(request.headers, body)
            if arguments is None:
                return await self.app(scope, _again(body, receive), send)
            for name, need in way.needs:
                arguments[name] = await need(request)
            response = await way.endpoint(**found.groupdict(), **arguments)
        except Exception as error:
            response = problem_of(request, error).response()
        return await response(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A route, and what its endpoint takes."""

    route: APIRoute
    methods: frozenset[str]
    path: re.Pattern[str]
    endpoint: Callable[..., Awaitable[Response]]
    needs: tuple[tuple[str, Callable[[Request], Awaitable[Any]]], ...]
    #: Each with its name in a request.
    headers: tuple[tuple[str, Reading], ...]
    body: Reading | None

    @classmethod
    def to(cls, route: APIRoute) -> Self:
        dependant = route.dependant
        assert all(convertor.regex == "[^/]+" for convertor in route.param_convertors.values())
        return cls(
            route=route,
            methods=frozenset(route.methods or ()),
            path=route.path_regex,
            endpoint=route.endpoint,
            needs=tuple((need.name, need.call) for need in dependant.dependencies),  # type: ignore[misc]
            headers=tuple((field.alias, _reading(field)) for field in dependant.header_params),
            body=next(map(_reading, dependant.body_params), None),
        )

    def read(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
        """The endpoint's arguments, or None when they are not as usual."""
        arguments = {}
        try:
            for alias, (name, adapter) in self.headers:
                if (value := headers.get(alias)) is not None:
                    arguments[name] = adapter.validate_python(value)
            if self.body:
                if headers.get("content-type") != "application/json":
                    return None
                name, adapter = self.body
                arguments[name] = adapter.validate_json(body)
        except ValidationError:
            return None
        return arguments


def _reading(field: Any) -> Reading:
    """What checks an argument by its annotation, with its limits."""
    return field.name, TypeAdapter(Annotated[field.field_info.annotation, field.field_info])


def _again(body: bytes, receive: Receive) -> Receive:
    """Reads a body that has been read once more."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return first.pop() if first else await receive()

    return receiving
