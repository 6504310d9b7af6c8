"""The service, as an object."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from darkroom import config
from darkroom.events import Event
from darkroom.flows import Flows
from darkroom.model import Batch, Image, Job, Model
from darkroom.options import Options, Wanted

#: How often a call that met a passing trouble is tried again.
RETRIES = 4


class Darkroom:
    """A connection to one service. Use it as a context manager, or call `close`.

    What is not given here comes from the environment (`DARKROOM_URL`, `DARKROOM_API_KEY`) or from
    what `darkroom config` keeps. Every call is tried again while the service is out of reach, and a
    job is submitted once all the same, under an idempotency key of its own.

    Raises:
        ConfigurationError: address or key cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = RETRIES,
    ) -> None:
        # httpx takes longer to import than all the rest: whoever needs only our types never pays.
        from darkroom.blocking import Transport

        self.service = config.find(url, key)
        self._flows = Flows(retries=retries)
        self._transport = Transport(self.service, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def models(self) -> list[Model]:
        """The models on offer; the first is the default."""
        return self._transport.run(self._flows.models())

    def submit(self, /, prompt: str, **options: Unpack[Options]) -> Job:
        """Put a job in line.

        Raises:
            RefusedError: a field breaks a limit.
        """
        return self._transport.run(self._flows.submit({"prompt": prompt, **options}))

    def generate(
        self,
        prompt: str,
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Submit a job and wait for its pictures, telling `on_event` of whatever happens.

        Raises:
            RefusedError: a field breaks a limit.
            JobFailedError: the job failed or was canceled.
            WaitingError: `timeout_s` is over.
        """
        flow = self._flows.generate(
            {"prompt": prompt, **options}, is_live=on_event is not None, timeout_s=timeout_s
        )
        return self._transport.run(flow, on_event)

    def get(self, job: Job | str) -> Job:
        """A job as it stands now, its pictures with fresh addresses."""
        return self._transport.run(self._flows.get(id_of(job)))

    def wait(
        self,
        job: Job | str,
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """A job once it has finished, however it ended.

        Raises:
            WaitingError: `timeout_s` is over.
        """
        flow = self._flows.watch(id_of(job), is_live=on_event is not None, timeout_s=timeout_s)
        return self._transport.run(flow, on_event)

    def stream(self, job: Job | str, *, timeout_s: float | None = None) -> Iterator[Event]:
        """What happens to a job, as it happens; the last event is the job itself, finished."""
        flow = self._flows.watch(id_of(job), is_live=True, timeout_s=timeout_s)
        return self._transport.each(flow)

    def cancel(self, job: Job | str) -> Job:
        """Stop a job, waiting or running; one that has finished stays as it is."""
        return self._transport.run(self._flows.cancel(id_of(job)))

    def delete(self, job: Job | str) -> None:
        """Forget a job, and its pictures with it."""
        self._transport.run(self._flows.delete(id_of(job)))

    def jobs(self, *, limit: int | None = None, **wanted: Unpack[Wanted]) -> Iterator[Job]:
        """The jobs that are wanted, newest first, asked for page by page as you go."""
        return self._transport.each(self._flows.jobs(wanted, limit))

    def batch(
        self,
        jobs: Sequence[Mapping[str, Any]] | None = None,
        *,
        grid: Mapping[str, Sequence[Any]] | None = None,
        base: Mapping[str, Any] | None = None,
    ) -> Batch:
        """Submit many jobs as one: each on its own, or a grid of options over a base."""
        parts = {"jobs": jobs, "grid": grid, "base": base}
        return self._transport.run(self._flows.batch(parts))

    def get_batch(self, batch: Batch | str) -> Batch:
        """A batch as it stands now; its jobs are `jobs(batch=...)`."""
        return self._transport.run(self._flows.get_batch(id_of(batch)))

    def wait_batch(
        self, batch: Batch | str, *, on_change: Callable[[Batch], None] | None = None
    ) -> Batch:
        """A batch once all its jobs have finished."""
        return self._transport.run(self._flows.wait_batch(id_of(batch)), on_change)

    def cancel_batch(self, batch: Batch | str) -> Batch:
        """Stop every job of a batch that has not finished."""
        return self._transport.run(self._flows.cancel_batch(id_of(batch)))

    def fetch(self, image: Image) -> bytes:
        """A picture's file, as it was stored.

        Raises:
            UnreachableError: the storage does not hand it out; its address may have expired.
            PictureError: it came damaged.
        """
        return self._transport.run(self._flows.fetch(image))

    def download(self, image: Image, path: str | Path) -> Path:
        """Save a picture; what can go wrong is what can with `fetch`, and an `OSError`."""
        return self._transport.run(self._flows.download(image, Path(path)))


def id_of(named: Job | Batch | str) -> str:
    return named if isinstance(named, str) else named.id
