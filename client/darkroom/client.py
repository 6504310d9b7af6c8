"""The service, as an object."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx

from darkroom.errors import JobFailedError, RefusedError, UnreachableError
from darkroom.model import Fault, Image, Job, Model

DEFAULT_URL = "http://127.0.0.1:8420"
#: Between the tries of a submit. Its idempotency key makes trying again harmless.
SUBMIT_PAUSES_S = (0.2, 1.0)


class Darkroom:
    """A connection to one service. Use it as a context manager, or call `close`."""

    def __init__(self, url: str = DEFAULT_URL, *, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=timeout_s)
        # Pictures come from the storage's own address, which needs no header of ours.
        self._storage = httpx.Client(timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        self._storage.close()

    def models(self) -> list[Model]:
        """The models on offer; the first is the default."""
        return [Model.read(model) for model in self._call("GET", "/v1/models")["models"]]

    def submit(self, prompt: str, **options: Any) -> Job:
        """Put a job in line, once, however often the connection breaks on the way.

        `options` are the fields of the service's `JobRequest`.

        Raises:
            RefusedError: a field breaks a limit.
        """
        key = {"Idempotency-Key": uuid4().hex}
        body = {"prompt": prompt, **options}
        for pause_s in SUBMIT_PAUSES_S:
            try:
                return Job.read(self._call("POST", "/v1/jobs", body, key))
            except UnreachableError:
                time.sleep(pause_s)
        return Job.read(self._call("POST", "/v1/jobs", body, key))

    def get(self, job_id: str) -> Job:
        """
        Raises:
            RefusedError: there is no such job.
        """
        return Job.read(self._call("GET", f"/v1/jobs/{job_id}"))

    def cancel(self, job_id: str) -> Job:
        """Stop a job; one that has finished stays as it is."""
        return Job.read(self._call("POST", f"/v1/jobs/{job_id}/cancel"))

    def wait(
        self,
        job: Job,
        *,
        on_change: Callable[[Job], None] | None = None,
        poll_s: float = 0.2,
    ) -> Job:
        """Poll a job until it has finished, telling `on_change` whenever something is new."""
        seen: Job | None = None
        while True:
            job = self.get(job.id)
            if on_change is not None and job != seen:
                on_change(job)
            if job.finished:
                return job
            seen = job
            time.sleep(poll_s)

    def generate(
        self,
        prompt: str,
        *,
        on_change: Callable[[Job], None] | None = None,
        **options: Any,
    ) -> Job:
        """Submit a job and wait for its pictures.

        Raises:
            RefusedError: a field breaks a limit.
            JobFailedError: the job failed or was cancelled.
        """
        job = self.wait(self.submit(prompt, **options), on_change=on_change)
        if job.status != "succeeded":
            raise JobFailedError(job)
        return job

    def download(self, image: Image, path: str | Path) -> Path:
        """Save a picture.

        Raises:
            UnreachableError: the storage does not hand it out; its address may have expired.
        """
        if image.url is None:
            raise UnreachableError("the picture has no address yet")
        try:
            response = self._storage.get(image.url)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            # The error's own text holds the signed address.
            status = error.response.status_code
            raise UnreachableError(f"the storage answered {status} for the picture") from None
        except httpx.HTTPError as error:
            raise UnreachableError(f"the storage does not answer ({_name(error)})") from None
        path = Path(path)
        path.write_bytes(response.content)
        return path

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            detail = f"nothing answers at {self.url} ({_name(error)})"
            raise UnreachableError(detail) from error
        if response.is_error:
            raise _refusal(response)
        answer: dict[str, Any] = response.json()
        return answer


def _name(error: httpx.HTTPError) -> str:
    return type(error).__name__


def _refusal(response: httpx.Response) -> RefusedError:
    try:
        problem = response.json()
        kind = str(problem["type"]).rsplit("/", 1)[-1]
        faults = tuple(Fault.read(fault) for fault in problem.get("errors", ()))
        return RefusedError(response.status_code, kind, str(problem["detail"]), faults)
    except (ValueError, KeyError, TypeError):
        return RefusedError(response.status_code, "unknown", response.text[:200])
