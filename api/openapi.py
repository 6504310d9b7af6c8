"""The service's description of itself, with its refusals as they really are."""

from typing import Any

from fastapi import FastAPI

from api.problems import ProblemBody

REFERENCE = "#/components/schemas/{model}"


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
    problem = ProblemBody.model_json_schema(ref_template=REFERENCE)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemBody"] = problem
    for operations in (*description["paths"].values(), *description["webhooks"].values()):
        for operation in operations.values():
            # FastAPI adds this one to every route with a parameter, even one that takes any text.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
