"""What is on a list is refused in any trivial disguise, quickly, and nothing else is."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.app import create_app
from api.blocklist import Blocklist, folded, words_of
from jobs.settings import Settings
from pipelines.errors import CatalogError

LIST = """\
# What the shop does not draw.
forbidden
secret garden
/colou?red (cat|dog)s/
"""
DISGUISED = [
    "a forbidden circle",
    "FORBIDDEN",
    "f\u00f6rb\u00eddden",
    "\uff46\uff4f\uff52\uff42\uff49\uff44\uff44\uff45\uff4e",
    "\U0001d41f\U0001d428\U0001d42b\U0001d41b\U0001d422\U0001d41d\U0001d41d\U0001d41e\U0001d427",
    "for\u200bbid\u00adden",
    "f\u043erb\u0456dd\u0435n",
    "f0rb1dd3n",
    "f.o.r.b.i.d.d.e.n",
    "one f o r b i d d e n circle",
    "(forbidden:1.4)",
    "secret\n\tGARDEN",
    "a secret, garden!",
    "two Coloured cats",
    "colored d\u00f6gs",
]
INNOCENT = [
    "a red circle",
    "unforbiddenly",
    "a garden with a secret",
    "4 cats and 10 dogs",
    "a b c",
    "\u0437\u0430\u043f\u0440\u0435\u0442\u043d\u044b\u0439 \u043a\u0440\u0443\u0433",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0935\u0943\u0924\u094d\u0924",
]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Blocklist]:
    def load(text: str) -> Blocklist:
        (tmp_path / "blocked.txt").write_text(text)
        return Blocklist.load(tmp_path / "blocked.txt")

    return load


def test_what_is_listed_is_found_in_disguise_and_nothing_else(
    load: Callable[[str], Blocklist],
) -> None:
    blocklist = load(LIST)
    assert [prompt for prompt in DISGUISED if blocklist.found_in(prompt) is None] == []
    assert [prompt for prompt in INNOCENT if blocklist.found_in(prompt)] == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_listed_word_between_any_texts_is_found(before: str, after: str) -> None:
    assert Blocklist(["forbidden"]).found_in(f"{before} \n forbidden \n {after}")


@given(st.text())
def test_a_text_without_letters_and_digits_has_no_words(text: str) -> None:
    assert bool(words_of(folded(text))) == any(char.isalnum() for char in folded(text))


@pytest.mark.parametrize("pattern", ["/(a+)+$/", "/(a|aa)+$/", "/(.*)*x/", "/([a-z]+)*[0-9]/"])
def test_no_pattern_hangs_whatever_the_prompt(
    load: Callable[[str], Blocklist], pattern: str
) -> None:
    blocklist, begun_s = load(pattern), time.monotonic()
    assert blocklist.found_in("a" * 100_000 + "!") is None
    assert time.monotonic() - begun_s < 5


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("ok\n/(/", "line 2: the pattern is none that RE2 knows: missing )"),
        (r"/(a)\1/", "line 1: the pattern is none that RE2 knows"),
        ("!?", "line 1: there is no word"),
    ],
)
def test_what_is_wrong_with_a_list_is_named_by_its_line(
    load: Callable[[str], Blocklist], text: str, where: str
) -> None:
    with pytest.raises(CatalogError) as refused:
        load(text)
    assert where in str(refused.value)


def test_a_list_that_is_not_there_or_no_text_stops_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "binary", "."):
        with pytest.raises(CatalogError, match="cannot be read"):
            create_app(settings.model_copy(update={"blocklist": tmp_path / name}))


async def test_a_blocked_prompt_is_refused_at_submit_by_every_api_and_costs_nothing(
    settings: Settings, redis: ArqRedis, tmp_path: Path
) -> None:
    """One list for all models, and one of the model's own."""
    (tmp_path / "common.txt").write_text("forbidden")
    (tmp_path / "own.txt").write_text("secret garden")
    (tmp_path / "models.yaml").write_text(
        "shapes-sd: {family: stable-diffusion, source: ./nowhere, blocklist: ./own.txt}\n"
        "other: {family: stable-diffusion, source: ./nowhere}"
    )
    changes = {
        "catalog": tmp_path / "models.yaml",
        "blocklist": tmp_path / "common.txt",
        "models": (),
    }
    with TestClient(create_app(settings.model_copy(update=changes))) as client:
        for prompt in ("forbidden", "a secret garden"):
            answer = client.post("/v1/jobs", json={"prompt": prompt})
            (fault,) = answer.json()["errors"]
            assert (answer.status_code, fault["field"]) == (422, "prompt")
            assert answer.json()["type"] == "/problems/prompt-blocked"
            assert fault["detail"].endswith(prompt.removeprefix("a "))
            batch = client.post("/v1/batches", json={"jobs": [{"prompt": prompt}]})
            assert batch.json()["errors"][0]["field"] == "jobs.0.prompt"
            openai = client.post("/v1/images/generations", json={"prompt": prompt})
            assert openai.json()["error"]["code"] == "content_policy_violation"
            assert client.post("/sdapi/v1/txt2img", json={"prompt": prompt}).status_code == 422
        assert await redis.dbsize() == 0
        for body in (
            {"prompt": "a circle", "negative_prompt": "forbidden"},
            {"prompt": "a secret garden", "model": "other"},
        ):
            assert client.post("/v1/jobs", json=body).status_code == 202
