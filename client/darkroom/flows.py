"""What the client can do, as flows: `exchange.py` says what those are."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from darkroom.errors import PictureError, UnreachableError, with_pictures
from darkroom.exchange import A, Call, Fetch, Flow, Pause, Save, Tell, ask, call
from darkroom.model import Batch, Image, Job, JobPage, Model, ModelList
from darkroom.options import Wanted
from darkroom.watching import job_path, watch

#: Jobs a page, where all of them are wanted anyway.
PAGE_JOBS: Final = 100
#: Between two looks at a batch.
BATCH_POLL_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Every call there is, each tried again `retries` times at most."""

    retries: int

    def models(self) -> Flow[list[Model]]:
        return list((yield from self._asked(ModelList, "GET", "/v1/models")).models)

    def submit(self, request: Mapping[str, Any]) -> Flow[Job]:
        return self._submitted(Job, "/v1/jobs", request)

    def get(self, job_id: str) -> Flow[Job]:
        return self._asked(Job, "GET", job_path(job_id))

    def cancel(self, job_id: str) -> Flow[Job]:
        return self._asked(Job, "POST", f"{job_path(job_id)}/cancel")

    def delete(self, job_id: str) -> Flow[None]:
        yield from call(Call(method="DELETE", path=job_path(job_id)), self.retries)

    def jobs(self, wanted: Wanted, limit: int | None) -> Flow[None]:
        """Tells every job that is wanted, newest first, page by page."""
        params = {name: str(value) for name, value in wanted.items()}
        left = limit
        while left is None or left > 0:
            params["limit"] = str(PAGE_JOBS if left is None else min(left, PAGE_JOBS))
            page = yield from self._asked(JobPage, "GET", "/v1/jobs", params)
            for job in page.jobs[:left]:
                yield Tell(job)
            if page.next is None:
                return
            params["cursor"] = page.next
            left = None if left is None else left - len(page.jobs)

    def watch(self, job_id: str, *, is_live: bool, timeout_s: float | None) -> Flow[Job]:
        return watch(job_id, is_live=is_live, timeout_s=timeout_s)

    def generate(
        self, request: Mapping[str, Any], *, is_live: bool, timeout_s: float | None
    ) -> Flow[Job]:
        job = yield from self.submit(request)
        return with_pictures((yield from self.watch(job.id, is_live=is_live, timeout_s=timeout_s)))

    def batch(self, parts: Mapping[str, Any]) -> Flow[Batch]:
        body = {name: part for name, part in parts.items() if part is not None}
        return self._submitted(Batch, "/v1/batches", body)

    def get_batch(self, batch_id: str) -> Flow[Batch]:
        return self._asked(Batch, "GET", _batch(batch_id))

    def cancel_batch(self, batch_id: str) -> Flow[Batch]:
        return self._asked(Batch, "POST", f"{_batch(batch_id)}/cancel")

    def wait_batch(self, batch_id: str) -> Flow[Batch]:
        """Tells the batch whenever another of its jobs has moved on."""
        seen: Batch | None = None
        while True:
            batch = yield from self.get_batch(batch_id)
            if batch != seen:
                yield Tell(batch)
            if batch.finished:
                return batch
            seen = batch
            yield Pause(BATCH_POLL_S)

    def fetch(self, image: Image) -> Flow[bytes]:
        if image.url is None:
            raise UnreachableError("the picture has no address yet")
        reply = yield from ask(Fetch(image.url), self.retries)
        if reply.is_error:
            # Nothing of the answer is told: the storage's errors hold the signed address.
            detail = f"the storage answered {reply.status} for the picture"
            if reply.status == 403:
                detail += "; its address may have expired: ask for the job again"
            raise UnreachableError(detail)
        if hashlib.sha256(reply.content).hexdigest() != image.sha256:
            raise PictureError("the picture did not come as it was stored")
        return reply.content

    def download(self, image: Image, path: Path) -> Flow[Path]:
        yield Save(path, (yield from self.fetch(image)))
        return path

    def _asked(
        self, kind: type[A], method: str, path: str, params: Mapping[str, str] | None = None
    ) -> Flow[A]:
        request = Call(method=method, path=path, params=params or {})
        return (yield from call(request, self.retries)).read(kind)

    def _submitted(self, kind: type[A], path: str, body: Mapping[str, Any]) -> Flow[A]:
        """Submit once, however often the connection breaks on the way."""
        headers = {"Idempotency-Key": uuid4().hex}
        request = Call(method="POST", path=path, headers=headers, body=body)
        return (yield from call(request, self.retries)).read(kind)


def _batch(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"
