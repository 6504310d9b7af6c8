"""A route for the calls that are made most: it reads what a usual call brings by itself.

FastAPI finds out anew, for each call, what kind of thing each argument is; that takes longer than
everything a poll does besides.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

Handler = Callable[[Request], Awaitable[Response]]


class QuickRoute(APIRoute):
    """For endpoints that make their own `Response`, and whose query may be left out.

    A call is left to FastAPI when it has a query, or anything that is not valid: FastAPI then says
    what. What such an endpoint depends on may itself depend on the request alone.
    """

    def get_route_handler(self) -> Handler:  # type: ignore[override]
        thorough = super().get_route_handler()
        endpoint = self.dependant.call
        assert endpoint is not None
        read = _reader(self)

        async def handle(request: Request) -> Response:
            arguments = await read(request)
            if arguments is None:
                return await thorough(request)
            response: Response = await endpoint(**arguments)
            return response

        return handle


def _reader(route: APIRoute) -> Callable[[Request], Awaitable[dict[str, Any] | None]]:
    """What reads the arguments of a route's endpoint, or finds that they are not as usual."""
    dependant = route.dependant
    needs = [(need.name or "", need.call) for need in dependant.dependencies]
    headers = [(field.alias, field.name, _adapter(field)) for field in dependant.header_params]
    body = next(((field.name, _adapter(field)) for field in dependant.body_params), None)

    async def read(request: Request) -> dict[str, Any] | None:
        if request.scope["query_string"]:
            return None
        arguments: dict[str, Any] = dict(request.path_params)
        sent = request.headers
        try:
            for alias, name, adapter in headers:
                if (value := sent.get(alias)) is not None:
                    arguments[name] = adapter.validate_python(value)
            if body:
                if sent.get("content-type") != "application/json":
                    return None
                name, adapter = body
                arguments[name] = adapter.validate_json(await request.body())
        except ValidationError:
            return None
        for name, need in needs:
            arguments[name] = await need(request)  # type: ignore[misc]
        return arguments

    return read


def _adapter(field: Any) -> TypeAdapter[Any]:
    """What checks an argument by its annotation, with its limits."""
    return TypeAdapter(Annotated[field.field_info.annotation, field.field_info])
