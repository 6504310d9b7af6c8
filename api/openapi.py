"""The service's description of itself, with its refusals as they really are."""

from typing import Any, Final

from fastapi import FastAPI

from api import problems
from api.access import BASIC, SAFE_METHODS, is_open
from api.problems import ProblemBody

REFERENCE = "#/components/schemas/{model}"

#: How a key can be sent (RFC 6750, RFC 7617).
SCHEMES: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `dk_...`."},
    "password": {"type": "http", "scheme": "basic", "description": "An API key as password."},
}
#: What every operation that needs a key can end in.
OF_KEYS: Final = ("unauthenticated", "forbidden", "unavailable")
#: What tells a key with limits what is left of them, with whatever it changes.
RATE_LIMITS: Final = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in (
        ("RateLimit-Policy", "The limits of the key, if it has any."),
        ("RateLimit", "What is left of them."),
    )
}
#: How addresses that are not our own tell refusals.
FORMS: Final[dict[str, dict[str, Any]]] = {
    "/v1/images/": {"$ref": "#/components/schemas/ErrorBody"},
    BASIC: {"$ref": "#/components/schemas/ErrorAnswer"},
}


def describe(app: FastAPI) -> None:
    """Make the application describe its problems instead of FastAPI's own validation errors."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _mend(generate())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _mend(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    description["components"]["securitySchemes"] = SCHEMES
    problem = ProblemBody.model_json_schema(ref_template=REFERENCE)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemBody"] = problem
    for operations in (*description["paths"].values(), *description["webhooks"].values()):
        for operation in operations.values():
            # FastAPI adds this one to every route with a parameter, even one that takes any text.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])

    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if not is_open(path):
                _close(path, method.upper(), operation)


def _close(path: str, method: str, operation: dict[str, Any]) -> None:
    """Tell of an operation that it needs a key, and what happens without a right one."""
    # Nothing at all is one of the ways: some services let anybody in.
    operation["security"] = [{}, {"key": []}]
    if path.startswith(BASIC):
        operation["security"].append({"password": []})
    form = next((form for start, form in FORMS.items() if path.startswith(start)), None)
    for status, response in problems.responses(*OF_KEYS).items():
        if form:
            response["content"] = {"application/json": {"schema": form}}
        operation["responses"].setdefault(str(status), response)
    if method not in SAFE_METHODS:
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(RATE_LIMITS)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What a parameter can be when it is there: an address and a header have no null."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**others[0], **rest}
