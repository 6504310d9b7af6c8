"""What a wait does when the network or the service is not as it should be, without either."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from darkroom.errors import RefusedError, UnreachableError
from darkroom.exchange import Call, Flow, Hear, Listen, Pause, Reply, Tell
from darkroom.model import Image, Job, Progress
from darkroom.watching import PATIENCE, watch

STREAM = Reply(200, {"content-type": "text/event-stream; charset=utf-8"})
UNREACHABLE = UnreachableError("nothing answers")
IMAGE = {
    "index": 0,
    "seed": 7,
    "width": 64,
    "height": 64,
    "content_type": "image/png",
    "size_bytes": 3,
    "sha256": "0" * 64,
}


def job(status: str, step: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "status": status,
        "request": {},
        "created_at": "2026-01-01T00:00:00Z",
        "progress": {"step": step, "steps": 4},
        **fields,
    }


def answer(body: dict[str, Any], status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps(body).encode())


def event(name: str, data: dict[str, Any], event_id: str = "") -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\nid: {event_id}\n\n".encode()


class Script:
    """Performs a flow with outcomes that were written down, and notes what it was asked for."""

    def __init__(self, *outcomes: Reply | UnreachableError | bytes) -> None:
        self._outcomes: Iterator[Any] = iter(outcomes)
        self.effects: list[Any] = []

    def run(self, flow: Flow[Job]) -> Job:
        outcome: Any = None
        while True:
            try:
                effect = flow.send(outcome)
            except StopIteration as end:
                result: Job = end.value
                return result
            self.effects.append(effect)
            outcome = None if isinstance(effect, Pause | Tell) else next(self._outcomes)

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def told(self) -> list[Any]:
        return [tell.value for tell in self.of(Tell)]


def live() -> Flow[Job]:
    return watch("1", is_live=True, timeout_s=None)


def test_a_service_without_events_is_asked_again_and_again() -> None:
    script = Script(
        answer({"type": "/problems/not-found", "detail": "there is nothing here"}, 404),
        answer(job("running", 1), etag='W/"a"'),
        answer(job("running", 3), etag='W/"b"'),
        answer(job("succeeded", 4, images=[IMAGE])),
    )
    done = script.run(live())
    assert done.status == "succeeded"
    assert [told.step for told in script.told if isinstance(told, Progress)] == [1, 3, 4]
    assert script.told[-1] is done
    # Asked with what is known already, it need not answer before something changes.
    assert [call.headers for call in script.of(Call)] == [
        {},
        {"If-None-Match": 'W/"a"'},
        {"If-None-Match": 'W/"b"'},
    ]


def test_events_that_something_on_the_way_holds_back_are_given_up() -> None:
    script = Script(STREAM, b"", STREAM, b"", answer(job("canceled")))
    assert script.run(live()).status == "canceled"
    assert len(script.of(Listen)) == 2


def test_what_was_heard_before_a_cut_is_not_told_again() -> None:
    script = Script(
        STREAM,
        event("progress", {"step": 1, "steps": 4}, "1-0"),
        event("image", {**IMAGE, "url": "http://one"}, "2-0"),
        b"event: progress\nid: 3-0\ndata: {",
        b"",
        UNREACHABLE,
        STREAM,
        b"data: no event\nevent: progress\n\n",
        answer(job("succeeded", 4, images=[{**IMAGE, "url": "http://another"}])),
    )
    done = script.run(live())
    assert [told for told in script.told if isinstance(told, Image)] == [
        Image(**IMAGE, url="http://one")
    ]
    assert [listen.call.headers.get("Last-Event-ID") for listen in script.of(Listen)] == [
        None,
        "2-0",
        "2-0",
    ]
    assert done.images[0].url == "http://another"


def test_events_of_newer_services_are_passed_over() -> None:
    end = event("end", job("failed"), "2-0")
    script = Script(STREAM, event("applause", {}, "1-0") + end)
    assert script.run(live()).status == "failed"
    assert len(script.told) == 1


def test_a_stream_whose_end_was_seen_is_not_asked_for_again() -> None:
    script = Script(Reply(204, {}), answer(job("succeeded", 4)))
    assert script.run(live()).status == "succeeded"


@pytest.mark.parametrize(("status", "kind"), [(404, "job-not-found"), (401, "unauthorized")])
def test_a_refusal_ends_the_wait(status: int, kind: str) -> None:
    script = Script(answer({"type": f"/problems/{kind}", "detail": "no"}, status))
    with pytest.raises(RefusedError) as refused:
        script.run(live())
    assert (refused.value.status, refused.value.kind) == (status, kind)


@pytest.mark.parametrize(("wanted", "pause_s"), [("2", 2.0), ("600", 5.0), (None, 0.2)])
def test_a_service_that_does_not_hold_its_answers_is_asked_less_often(
    wanted: str | None, pause_s: float
) -> None:
    headers = {"retry_after": wanted} if wanted else {}
    queued = answer(job("queued"), **headers)
    script = Script(queued, queued, answer(job("canceled")))
    script.run(watch("1", is_live=False, timeout_s=None))
    assert [pause.seconds for pause in script.of(Pause)] == [pause_s, pause_s]


def test_a_service_that_stays_away_is_waited_for_and_then_given_up() -> None:
    script = Script(*[UNREACHABLE] * (PATIENCE + 1))
    with pytest.raises(UnreachableError):
        script.run(watch("1", is_live=False, timeout_s=None))
    assert 30 < sum(pause.seconds for pause in script.of(Pause)) < 90


def test_a_passing_trouble_is_waited_out_for_as_long_as_the_service_says() -> None:
    busy = answer(
        {"type": "/problems/unavailable", "detail": "Redis is away"}, 503, retry_after="7"
    )
    script = Script(busy, answer(job("canceled")))
    script.run(watch("1", is_live=False, timeout_s=None))
    assert [pause.seconds for pause in script.of(Pause)] == [7.0]


def test_whatever_is_no_darkroom_is_said_to_be_none() -> None:
    script = Script(answer({"hello": "world"}))
    with pytest.raises(UnreachableError, match="is this a Darkroom's address"):
        script.run(watch("1", is_live=False, timeout_s=None))


def test_the_stream_is_heard_to_its_last_byte_only() -> None:
    script = Script(STREAM, event("end", job("canceled"), "1-0"))
    script.run(live())
    assert len(script.of(Hear)) == 1
