"""Texts, times and addresses that are written to do harm: refused, or carried as what they are."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient

PROMPT = "a red circle"
#: What steers a terminal, ends a line of a log, or ends a string in C.
CONTROLS = [
    "\x00",
    "\x07",
    "\x08",
    "\x0b",
    "\x0c",
    "\x1b[2J",
    "\x1b]0;me\x07",
    "\x7f",
    "\x9b31m",
]
#: What looks dangerous and is somebody's language, or plain text: carried as it is.
HARMLESS = [
    "<script>alert(1)</script>",
    "'; DROP TABLE jobs; --",
    "{{7*7}} ${jndi:ldap://x} %s %n",
    "\u202eelcric der a",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u05e2\u05d9\u05d2\u05d5\u05dc \u0623\u062d\u0645\u0631",
    "line\u2028separator",
    "two\nlines\tand a tab",
]
#: Times, and how a list that is asked for by them is answered.
MOMENTS = {
    "0001-01-01T00:00:00Z": 200,
    "0001-01-01T00:00:00+23:59": 200,
    "9999-12-31T23:59:59.999999Z": 200,
    "9999-12-31T23:59:59-23:59": 200,
    "2026-11-25T09:30:00": 422,
    "2026-11-25": 422,
    "0.5": 422,
    "1e300": 422,
}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (lambda text: {"prompt": text}, "prompt"),
        (lambda text: {"prompt": PROMPT, "negative_prompt": text}, "negative_prompt"),
        (lambda text: {"prompt": PROMPT, "labels": {"project": text}}, "labels.project"),
    ],
)
async def test_control_characters_are_refused_by_name_and_cost_nothing(
    client: TestClient, redis: ArqRedis, body: Callable[[str], Any], field: str
) -> None:
    for control in CONTROLS:
        answer = client.post("/v1/jobs", json=body(f"a{control}b"))
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["field"]) == (422, field)
        assert f"U+{ord(control[0]):04X}" in fault["detail"]
        assert control[0] not in answer.text
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img"])
def test_the_other_apis_refuse_them_too(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"prompt": "a\x1b[2Jb"})
    assert answer.status_code in (400, 422)
    assert "U+001B" in answer.text


def test_other_text_comes_back_as_it_was_sent_and_never_as_markup(client: TestClient) -> None:
    for text in HARMLESS:
        body = {
            "prompt": text,
            "negative_prompt": text,
            "labels": {"project": text},
            "metadata": {text: [text]},
        }
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        stored = client.get(answer.headers["location"]).json()["request"]
        assert {name: stored[name] for name in body} == body


def test_line_ends_of_other_systems_become_ours(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={"prompt": "a circle\r\na star\ra square"})
    assert answer.json()["request"]["prompt"] == "a circle\na star\na square"


def test_metadata_holds_no_number_that_json_lacks(client: TestClient) -> None:
    for number in ("NaN", "Infinity", "-Infinity"):
        body = f'{{"prompt": "{PROMPT}", "metadata": {{"a": {number}}}}}'
        answer = client.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["field"]) == (422, "metadata")


@pytest.mark.parametrize("name", ["created_from", "created_before"])
def test_a_time_at_the_calendar_s_ends_or_without_a_zone_breaks_no_list(
    client: TestClient, name: str
) -> None:
    client.post("/v1/jobs", json={"prompt": PROMPT})
    for moment, status in MOMENTS.items():
        answer = client.get("/v1/jobs", params={name: moment})
        assert answer.status_code == status, answer.text


def test_an_address_made_of_control_characters_is_answered_in_json(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    for address in (
        "/v1/%0aERROR",
        "/%1b[2J",
        "/v1/jobs/%0d%0aSet-Cookie:a=b",
        "/%ff",
        "/page/%00",
    ):
        with caplog.at_level(logging.DEBUG, "darkroom"):
            answer = client.get(address)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "set-cookie" not in answer.headers
    assert not [record for record in caplog.records if record.name.startswith("darkroom")]
