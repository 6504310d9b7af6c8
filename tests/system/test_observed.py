"""A stack that is watched as in production: traces, log lines and metrics of real jobs."""

import itertools
import json
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from collector import PATH, Span, is_connected, spans_in
from watching_rules import FOLDER, queries

from local.ports import free_port

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
    outcomes = [span.attributes.get("darkroom.outcome") for span in trace]
    assert {"succeeded", "delivered"} <= set(outcomes)
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


def test_analytics_are_told_of_the_job_by_both_processes(
    observed: Any, trace: list[Span], until: Until
) -> None:
    assert trace

    def told() -> set[str]:
        return {
            event["event"]
            for each in list(observed.receiver.received)
            if each.path == "/batch/"
            for event in json.loads(each.body)["batch"]
        }

    until(lambda: told() >= {"job submitted", "job started", "job succeeded"}, 30)
    sent = [each.body for each in observed.receiver.received if each.path == "/batch/"]
    assert not [body for body in sent if b"circle" in body]


@pytest.fixture
def prometheus(observed: Any, tmp_path: Path, until: Until) -> Iterator[str]:
    """A real Prometheus server with our configuration, but for where it looks, and how often."""
    if not shutil.which("prometheus"):
        pytest.skip("needs a Prometheus server (apt install prometheus)")
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(FOLDER / "alerts.yml")]
    ports = {"darkroom-api": observed.running.port, "darkroom-worker": observed.worker_port}
    for scraped in configuration["scrape_configs"]:
        del scraped["dns_sd_configs"]
        scraped.pop("authorization", None)
        scraped["static_configs"] = [{"targets": [f"127.0.0.1:{ports[scraped['job_name']]}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        [
            *("prometheus", f"--config.file={tmp_path}/prometheus.yml"),
            *(f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"),
            "--log.level=error",
        ]
    )
    until(lambda: _answers(f"http://{address}/-/ready"), 30)
    yield f"http://{address}"
    server.terminate()
    server.wait(30)


def test_every_query_of_dashboard_and_alerts_has_data_under_load(
    observed: Any, prometheus: str, until: Until
) -> None:
    url, hook = observed.running.url, {"url": observed.receiver.url}
    models, lanes = ("shapes-sd", "shapes-janus"), ("interactive", "batch")

    def load() -> None:
        for model, lane in itertools.product(models, lanes):
            job = {"prompt": PROMPT, "model": model, "lane": lane, "webhook": hook}
            assert httpx.post(f"{url}/v1/jobs", json=job).status_code == 202

    def without_data() -> list[str]:
        return [query for query in queries() if not _has_data(prometheus, query)]

    def is_complete() -> bool:
        load()
        return not without_data()

    try:
        until(is_complete, 90)
    except AssertionError:
        assert not without_data()
        raise
    up = httpx.get(f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
    assert {target["health"] for target in up} == {"up"}
    rules = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}


def _has_data(prometheus: str, query: str) -> bool:
    """Whether a query is answered with at least one number."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return any(math.isfinite(float(series["value"][1])) for series in answer["data"]["result"])


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False
