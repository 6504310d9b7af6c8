"""How a job lies in Redis: the fields of its record, and the way back to a `Job`."""

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from jobs.errors import NewerRecordError
from jobs.model import AdmittedRequest, Attempt, Batch, Failure, Image, Job, JobStatus, Progress

#: The layout of a record. Within one, fields may be added that can be left out: who does not know
#: them passes them over. Anything else is a new layout, which older workers leave alone.
RECORD_VERSION: Final = 1

#: What a record dates, in Unix time in ms: `created_ms` and so on.
MOMENTS: Final = ("created", "started", "finished", "expires")

Record = Mapping[str, str]
Fields = Mapping[str, str | int]


def new_job_id() -> str:
    """A version 7 UUID in hex: 48 bits of Unix time in ms, then 74 random ones (RFC 9562, 5.7)."""
    unix_ms, random = time.time_ns() // 1_000_000, secrets.randbits(74)
    value = unix_ms << 80 | 0x7 << 76 | random >> 62 << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return f"{value:032x}"


def first_id_at(moment: datetime, later_s: int = 0) -> str:
    """Sorts before every id made from so long after a moment on, and after all earlier ones.

    Not by adding to the moment itself: the first and the last years of the calendar lack the room.
    """
    unix_ms = int(moment.timestamp() * 1000) + later_s * 1000
    return f"{max(unix_ms, 0):012x}" + "0" * 20


def made_at_ms(job_id: str) -> int:
    """When an id was made, in Unix time."""
    return int(job_id[:12], 16)


def new_fields(request: AdmittedRequest) -> Fields:
    """What a record begins with; the submit script adds time, place, tenant, key and work."""
    fields: dict[str, str | int] = {
        "v": RECORD_VERSION,
        "status": JobStatus.QUEUED,
        "request": request.model_dump_json(exclude_defaults=True),
        "step": 0,
    }
    if request.webhook:
        # Apart, so that the scripts which move a job need not read its request.
        fields["notify"] = " ".join(request.webhook.events)
    return fields


def record_from_hash(stored: Mapping[bytes, bytes]) -> Record:
    """The fields as Redis answers `HGETALL`, as text."""
    return {name.decode(): value.decode() for name, value in stored.items()}


def new_job(job_id: str, request: AdmittedRequest, created_ms: int) -> Job:
    """A job as it was just recorded."""
    return Job(
        id=job_id,
        status=JobStatus.QUEUED,
        request=request,
        created_at=_moment(str(created_ms)),
        progress=Progress(step=0, steps=request.steps * request.images),
    )


@lru_cache(maxsize=4096)
def job_from_fields(job_id: str, flat: tuple[bytes, ...]) -> Job:
    """A job from its record as a script answers it, names and values in turn.

    Reading the same again costs little. Raises as `job_from_record`.
    """
    texts = [part.decode() for part in flat]
    return job_from_record(job_id, dict(zip(texts[::2], texts[1::2], strict=True)))


def job_from_record(job_id: str, record: Record) -> Job:
    """Read a record's fields into a job.

    Raises:
        NewerRecordError: it has a layout that this version does not know, and cannot read.
        KeyError, ValueError: it is broken.
    """
    try:
        return _job(job_id, record)
    except (KeyError, ValueError) as error:
        version = int(record.get("v", RECORD_VERSION))
        if version > RECORD_VERSION:
            raise NewerRecordError(job_id, version) from error
        raise


def _job(job_id: str, record: Record) -> Job:
    request = AdmittedRequest.model_validate_json(record["request"])
    error = record.get("error")
    status, steps = JobStatus(record["status"]), request.steps * request.images
    step = steps if status is JobStatus.SUCCEEDED else int(record["step"])
    moments = {name: _moment(record[f"{name}_ms"]) for name in MOMENTS if f"{name}_ms" in record}
    return Job(
        id=job_id,
        status=status,
        request=request,
        created_at=moments["created"],
        started_at=moments.get("started"),
        finished_at=moments.get("finished"),
        expires_at=moments.get("expires"),
        attempts=tuple(_attempts(record.get("attempts", ""))),
        progress=Progress(step=step, steps=steps),
        images=tuple(
            Image.model_validate(image) for image in json.loads(record.get("images", "[]"))
        ),
        error=Failure.model_validate_json(error) if error else None,
    )


def batch_from_record(batch_id: str, record: Record, statuses: list[str]) -> Batch:
    """Read a batch, given where its jobs stand that are not forgotten yet."""
    counts = Counter(map(JobStatus, statuses))
    return Batch(
        id=batch_id,
        created_at=_moment(record["created_ms"]),
        jobs=tuple(record["jobs"].split()),
        counts={status: counts[status] for status in JobStatus},
        finished=all(status.finished for status in counts),
    )


def _attempts(lines: str) -> Iterator[Attempt]:
    for line in lines.splitlines():
        started_ms, _, worker = line.partition(" ")
        yield Attempt(started_at=_moment(started_ms), worker=worker)


def _moment(unix_ms: str) -> datetime:
    return datetime.fromtimestamp(int(unix_ms) / 1000, UTC)
