"""Bodies that a JSON parser would choke on, or take and never be able to write again."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.json_text import MAX_DEPTH, check, depth
from api.problems import Problem

JSON = {"content-type": "application/json"}
LEAVES = st.none() | st.integers() | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def depth_of(value: Any) -> int:
    """The depth of a value, by walking it."""
    match value:
        case list():
            return 1 + max(map(depth_of, value), default=0)
        case dict():
            return 1 + max(map(depth_of, value.values()), default=0)
        case _:
            return 0


@given(VALUES, st.booleans())
def test_the_depth_of_a_text_is_that_of_its_value(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    assert depth(text) == depth_of(value)


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["", "\\", "\\\\", '\\"', "\ud83d"]))
def test_half_a_character_is_refused_and_a_whole_one_never(text: str, prefix: str) -> None:
    is_whole = not prefix.endswith("\ud83d")
    body = json.dumps(prefix + text).encode()
    if is_whole:
        check(body)
    else:
        with pytest.raises(Problem, match="half of a character"):
            check(body)


#: What a field holds, and the limit that is named.
HURTFUL: list[tuple[bytes, int | None]] = [
    (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", MAX_DEPTH),
    (b'{"a": ' * 5_000, MAX_DEPTH),
    (b"[" * 100_000, MAX_DEPTH),
    (b'{"a": "\\ud83d"}', None),
    (b'{"\\udc00": 1}', None),
]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
def test_a_body_that_would_hurt_is_refused(client: TestClient, path: str) -> None:
    for value, limit in HURTFUL:
        body = b'{"prompt": "a circle", "metadata": ' + value + b"}"
        answer = client.post(path, content=body, headers=JSON)
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["field"], fault.get("limit")) == (422, "body", limit)


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img"])
def test_the_other_apis_refuse_it_in_their_own_words(client: TestClient, path: str) -> None:
    body = b'{"prompt": "a circle", "alwayson_scripts": ' + b"[" * 100 + b"]" * 100 + b"}"
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    assert f"at most {MAX_DEPTH} deep" in answer.text


def test_json_is_utf_8_and_nothing_else(client: TestClient) -> None:
    for encoding in ("utf-16", "utf-32", "utf-16-be"):
        body = '{"prompt": "a circle"}'.encode(encoding)
        answer = client.post("/v1/jobs", content=body, headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-json")


def test_brackets_in_a_prompt_are_no_depth(client: TestClient) -> None:
    prompt = "(((a circle))) [[{" * 20 + '\\" \U0001f7e5'
    answer = client.post("/v1/jobs", json={"prompt": prompt})
    assert (answer.status_code, answer.json()["request"]["prompt"]) == (202, prompt)
