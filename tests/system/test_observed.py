"""A stack that is watched as in production: the traces and the log lines of real jobs."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from collector import PATH, Span, is_connected, spans_in

pytestmark = [pytest.mark.system, pytest.mark.slow]

Until = Callable[[Callable[[], bool], float], None]
PROMPT = "a red circle on a blue background"
#: A trace that the caller has begun, and the caller's own span in it (W3C Trace Context).
TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
#: What every job goes through, and in which process.
STAGES = {
    ("darkroom-api", "POST /v1/jobs"): 1,
    ("darkroom-api", "submit"): 1,
    ("darkroom-worker", "queue"): 1,
    ("darkroom-worker", "develop"): 1,
    ("darkroom-worker", "claim"): 1,
    ("darkroom-worker", "encode"): 2,
    ("darkroom-worker", "step"): 2,
    ("darkroom-worker", "decode"): 2,
    ("darkroom-worker", "picture"): 2,
    ("darkroom-worker", "upload"): 2,
    ("darkroom-worker", "finish"): 1,
    ("darkroom-api", "webhook"): 1,
}


@pytest.fixture(scope="module")
def trace(observed: Any, until: Until) -> list[Span]:
    """The trace of a job of two pictures with a webhook, whole."""
    request = {"prompt": PROMPT, "images": 2, "webhook": {"url": observed.receiver.url}}
    headers = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01"}
    answer = httpx.post(f"{observed.running.url}/v1/jobs", json=request, headers=headers)
    assert answer.status_code == 202, answer.text

    def found() -> list[Span]:
        return [span for span in spans_in(observed.receiver) if span.trace_id == TRACE_ID]

    until(lambda: len(found()) >= sum(STAGES.values()), 60)
    return found()


def test_a_job_is_one_connected_trace_from_its_request_to_its_webhook(trace: list[Span]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for span in trace:
        counts[span.service, span.name] = counts.get((span.service, span.name), 0) + 1
    assert counts == STAGES
    assert is_connected(trace, root_parent=CALLER)


def test_its_stages_come_one_after_another(trace: list[Span]) -> None:
    """Each begins once the one before it has begun, and none ends before it begins."""
    order = [name for _, name in STAGES]
    begun = [min(span.begun_ns for span in trace if span.name == name) for name in order]
    # Redis tells in whole milliseconds when it has the job.
    assert all(earlier <= later + 5_000_000 for earlier, later in itertools.pairwise(begun))
    assert all(span.begun_ns <= span.ended_ns for span in trace)


def test_no_span_holds_a_prompt(observed: Any, trace: list[Span]) -> None:
    assert trace
    sent = [each.body for each in observed.receiver.received if each.path == PATH]
    assert not [body for body in sent if b"circle" in body]


def test_every_line_is_an_object_and_names_its_job_and_trace(
    observed: Any, trace: list[Span]
) -> None:
    lines = [
        json.loads(line.partition("| ")[2])
        for line in observed.running.log.splitlines()
        if line.startswith(("api ", "worker "))
    ]
    (job_id,) = {span.attributes["darkroom.job_id"] for span in trace if span.name == "develop"}
    about = [line for line in lines if job_id in line["message"]]
    assert len(about) >= 3
    assert {(line.get("job_id"), line.get("trace_id")) for line in about} == {(job_id, TRACE_ID)}
    assert {"timestamp", "level", "logger", "message"} <= lines[0].keys()
