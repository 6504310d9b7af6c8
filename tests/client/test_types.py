"""The client's types against the service's description of itself."""

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

import darkroom.model
import pytest
from darkroom.model import Answer
from darkroom.options import Options, Wanted, Webhook

from api.app import create_app
from jobs.settings import Settings

#: Ours that bear the service's names: all of them.
ANSWERS = [
    kind
    for kind in vars(darkroom.model).values()
    if isinstance(kind, type) and issubclass(kind, Answer) and kind is not Answer
]


#: What the service tells clients of other makes.
FOR_OTHERS = {"ModelList": {"object", "data"}}


@pytest.fixture(scope="module")
def description(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_has_the_service_s_fields(
    kind: type[Answer], description: dict[str, Any]
) -> None:
    schema = description["components"]["schemas"][kind.__name__]
    fields = dataclasses.fields(kind)
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    theirs = set(schema["properties"]) - FOR_OTHERS.get(kind.__name__, set())
    assert {field.name for field in fields} == theirs
    assert needed <= set(schema["required"])


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_nested_is_read_as_what_it_is(
    kind: type[Answer], description: dict[str, Any]
) -> None:
    properties = description["components"]["schemas"][kind.__name__]["properties"]
    nested = {
        name: reference
        for name, schema in properties.items()
        if (reference := _reference(schema)) in {each.__name__ for each in ANSWERS}
    }
    assert {name: each.__name__ for name, each in kind.NESTED.items()} == nested


def test_options_are_the_fields_of_a_request(description: dict[str, Any]) -> None:
    properties = description["components"]["schemas"]["JobRequest"]["properties"]
    assert set(Options.__annotations__) | {"prompt"} == set(properties)
    _assert_same_choices(Options, properties, description)
    webhook = description["components"]["schemas"]["Webhook"]
    assert set(Webhook.__annotations__) == set(webhook["properties"])
    assert Webhook.__required_keys__ == set(webhook["required"])


def test_a_list_is_narrowed_by_what_the_service_narrows_it_by(description: dict[str, Any]) -> None:
    parameters = description["paths"]["/v1/jobs"]["get"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in parameters}
    assert set(Wanted.__annotations__) | {"limit", "cursor"} == set(schemas)
    _assert_same_choices(Wanted, schemas, description)


def _assert_same_choices(kind: Any, schemas: dict[str, Any], description: dict[str, Any]) -> None:
    """Where we offer a choice, it is the service's."""
    choices = {
        name: get_args(hint)
        for name, hint in get_type_hints(kind).items()
        if get_origin(hint) is Literal
    }
    assert choices
    for name, ours in choices.items():
        theirs = description["components"]["schemas"][_reference(schemas[name])]["enum"]
        assert set(ours) == set(theirs)


def _reference(schema: dict[str, Any]) -> str:
    """What a field's schema refers to, itself, in a list or beside null."""
    for each in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if "$ref" in each:
            return str(each["$ref"]).rsplit("/", 1)[-1]
    return ""
