"""The service, as an object whose calls are awaited. It does what `Darkroom` does."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from darkroom import config
from darkroom.client import RETRIES, id_of
from darkroom.events import Event
from darkroom.flows import Flows
from darkroom.model import Batch, Image, Job, Model
from darkroom.options import Options, Wanted


class AsyncDarkroom:
    """As `Darkroom`, whose methods say what these do. Use it as an async context manager."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = RETRIES,
    ) -> None:
        from darkroom.awaiting import AsyncTransport

        self.service = config.find(url, key)
        self._flows = Flows(retries=retries)
        self._transport = AsyncTransport(self.service, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def models(self) -> list[Model]:
        return await self._transport.run(self._flows.models())

    async def submit(self, /, prompt: str, **options: Unpack[Options]) -> Job:
        return await self._transport.run(self._flows.submit({"prompt": prompt, **options}))

    async def generate(
        self,
        prompt: str,
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Job:
        flow = self._flows.generate(
            {"prompt": prompt, **options}, is_live=on_event is not None, timeout_s=timeout_s
        )
        return await self._transport.run(flow, on_event)

    async def get(self, job: Job | str) -> Job:
        return await self._transport.run(self._flows.get(id_of(job)))

    async def wait(
        self,
        job: Job | str,
        *,
        on_event: Callable[[Event], None] | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        flow = self._flows.watch(id_of(job), is_live=on_event is not None, timeout_s=timeout_s)
        return await self._transport.run(flow, on_event)

    def stream(self, job: Job | str, *, timeout_s: float | None = None) -> AsyncIterator[Event]:
        flow = self._flows.watch(id_of(job), is_live=True, timeout_s=timeout_s)
        return self._transport.each(flow)

    async def cancel(self, job: Job | str) -> Job:
        return await self._transport.run(self._flows.cancel(id_of(job)))

    async def delete(self, job: Job | str) -> None:
        await self._transport.run(self._flows.delete(id_of(job)))

    def jobs(self, *, limit: int | None = None, **wanted: Unpack[Wanted]) -> AsyncIterator[Job]:
        return self._transport.each(self._flows.jobs(wanted, limit))

    async def batch(
        self,
        jobs: Sequence[Mapping[str, Any]] | None = None,
        *,
        grid: Mapping[str, Sequence[Any]] | None = None,
        base: Mapping[str, Any] | None = None,
    ) -> Batch:
        parts = {"jobs": jobs, "grid": grid, "base": base}
        return await self._transport.run(self._flows.batch(parts))

    async def get_batch(self, batch: Batch | str) -> Batch:
        return await self._transport.run(self._flows.get_batch(id_of(batch)))

    async def wait_batch(
        self, batch: Batch | str, *, on_change: Callable[[Batch], None] | None = None
    ) -> Batch:
        return await self._transport.run(self._flows.wait_batch(id_of(batch)), on_change)

    async def cancel_batch(self, batch: Batch | str) -> Batch:
        return await self._transport.run(self._flows.cancel_batch(id_of(batch)))

    async def fetch(self, image: Image) -> bytes:
        return await self._transport.run(self._flows.fetch(image))

    async def download(self, image: Image, path: str | Path) -> Path:
        return await self._transport.run(self._flows.download(image, Path(path)))
