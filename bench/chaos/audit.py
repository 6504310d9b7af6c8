"""What became of the jobs, by the records, the pictures, and Redis's own log of every write."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from bench.chaos.cluster import LOOK_EVERY_S
from bench.chaos.load import Load

FINAL = {b"succeeded", b"failed", b"canceled"}


class Examined(Protocol):
    """A cluster whose jobs are over."""

    @property
    def url(self) -> str: ...

    @property
    def redis_folder(self) -> Path: ...

    #: Unix times at which Redis worked, and a worker to take a job.
    able_at: list[float]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All but the last two must be 0."""

    lost: int
    not_succeeded: int
    two_outcomes: int
    duplicates: int
    missing_pictures: int
    different_pictures: int
    #: Seconds from the kill of a worker to the next attempt at each of its jobs...
    again_after_s: list[float]
    #: ...and those of them in which Redis worked, and a worker to take the job.
    again_able_s: list[float]

    @property
    def is_clean(self) -> bool:
        return not any(
            (
                self.lost,
                self.not_succeeded,
                self.two_outcomes,
                self.duplicates,
                self.missing_pictures,
                self.different_pictures,
            )
        )


def percentile(values: list[float], percent: int) -> float | None:
    """None when there are too few to tell."""
    if len(values) < 2:
        return None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


async def examine(
    cluster: Examined,
    load: Load,
    kills: list[tuple[float, str, int]],
    expected: dict[int, list[str]],
) -> Findings:
    """Look at every job once more.

    Args:
        expected: the pictures' SHA-256 of an undisturbed run, by the number of the request.
    """
    acknowledged, ended = load.acknowledged, load.ended
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as http:
        now = {job_id: (await http.get(f"/v1/jobs/{job_id}")) for job_id in acknowledged.values()}
        pictures = {
            number: await digests(http, now[job_id].json())
            for number, job_id in acknowledged.items()
            if now[job_id].is_success
        }
    jobs = {job_id: answer.json() for job_id, answer in now.items() if answer.is_success}
    outcomes = outcomes_in_log(cluster.redis_folder)
    again = list(_again(jobs.values(), kills))
    return Findings(
        lost=len(now) - len(jobs),
        not_succeeded=sum(job["status"] != "succeeded" for job in jobs.values()),
        two_outcomes=sum(
            outcomes[job_id] != 1 or _outcome(job) != _outcome(ended[job_id])
            for job_id, job in jobs.items()
        ),
        duplicates=len(outcomes.keys() - set(acknowledged.values())),
        missing_pictures=sum(digest is None for found in pictures.values() for digest in found),
        different_pictures=sum(
            digest is not None and digest != wanted
            for number, found in pictures.items()
            for digest, wanted in zip(found, expected[number], strict=True)
        ),
        again_after_s=[start - kill for kill, start in again],
        again_able_s=[
            sum(kill <= at <= start for at in cluster.able_at) * LOOK_EVERY_S
            for kill, start in again
        ],
    )


async def digests(http: httpx.AsyncClient, job: dict[str, Any]) -> list[str | None]:
    """The SHA-256 of each picture as it lies in storage; None for one that is not there."""
    found: list[str | None] = []
    for image in job["images"]:
        answer = await http.get(image["url"])
        sha256 = hashlib.sha256(answer.content).hexdigest()
        is_whole = answer.is_success and sha256 == image["sha256"]
        found.append(sha256 if is_whole else None)
    return found + [None] * (job["request"]["images"] - len(found))


def outcomes_in_log(redis_folder: Path) -> Counter[str]:
    """How often each job's record was set to a final state, by Redis's append-only file."""
    counted: Counter[str] = Counter()
    for path in sorted(redis_folder.rglob("*.aof")):
        for command in _commands(path.read_bytes()):
            if command[0].upper() == b"HSET" and command[1].startswith(b"darkroom:job:"):
                fields = dict(zip(command[2::2], command[3::2], strict=True))
                if fields.get(b"status") in FINAL:
                    counted[command[1].decode().rpartition(":")[2]] += 1
    return counted


def _commands(log: bytes) -> Iterator[list[bytes]]:
    """The commands of an append-only file: arrays of bulk strings (RESP2)."""
    at = 0

    def number(mark: bytes) -> int:
        nonlocal at
        end = log.index(b"\r\n", at)
        assert log[at : at + 1] == mark, log[at : at + 20]
        value = int(log[at + 1 : end])
        at = end + 2
        return value

    while at < len(log):
        command = []
        for _ in range(number(b"*")):
            length = number(b"$")
            command.append(log[at : at + length])
            at += length + 2
        yield command


def _outcome(job: dict[str, Any]) -> tuple[Any, ...]:
    return job["status"], job["finished_at"], [image["sha256"] for image in job["images"]]


def _again(
    jobs: Iterable[dict[str, Any]], kills: list[tuple[float, str, int]]
) -> Iterator[tuple[float, float]]:
    """Of each attempt whose worker was killed, when that was and when the next one began."""
    for job in jobs:
        for attempt, following in zip(job["attempts"], job["attempts"][1:], strict=False):
            pid = int(attempt["worker"].split(":")[1])
            begun, again = (_unix(each["started_at"]) for each in (attempt, following))
            killed = [at for at, _, hit in kills if hit == pid and begun <= at <= again]
            if killed:
                yield killed[0], again


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
