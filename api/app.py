"""The application, assembled."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import headers, problems
from api.access import Access
from api.blocklist import load_blocklists
from api.body_limit import BodyLimit
from api.compat import automatic1111, openai
from api.compat.automatic1111 import errors as automatic1111_errors
from api.compat.automatic1111 import picture_info
from api.compat.openai import errors as openai_errors
from api.observing import Observed
from api.openapi import describe
from api.parts import Parts
from api.presenting import with_urls
from api.quick import QuickLane
from api.routes import batches, deliveries, events, health, jobs, metrics, models, page, queues
from api.routes import problems as problem_kinds
from api.waiters import Waiters
from jobs import checks, logs, tracing
from jobs import metrics as measured
from jobs.access.keyring import Keyring
from jobs.analytics import sending
from jobs.connection import connect
from jobs.exchange import Exchange
from jobs.model import Lane
from jobs.settings import Settings
from jobs.settings import settings as process_settings
from jobs.signals import Signals
from jobs.storage import PictureStore
from jobs.store import JobStore
from jobs.webhooks.deliverer import Deliverer
from jobs.webhooks.model import Outcome
from pipelines.catalog import Catalog

log = logging.getLogger("darkroom.api")

DESCRIPTION = """\
Text in, pictures out, on your own machines.

Submit a job with `POST /v1/jobs`, poll it with `GET /v1/jobs/{id}`, and download each picture
from the address it then holds. Every refusal is a problem as in RFC 9457 that names the field
and the limit.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API as an ASGI application.

    Raises:
        CatalogError: the catalogue or a blocklist cannot be read, or the settings name a model
            that is not there.
    """
    chosen = settings or process_settings()
    logs.configure(chosen.log_level, chosen.log_format)
    catalog = Catalog.load(chosen.catalog).only(chosen.models)
    catalog.only(list(chosen.openai_model_aliases.values()))
    measured.expect(measured.SUBMITTED, catalog, Lane)
    measured.expect(measured.WEBHOOK_ATTEMPTS, Outcome)

    blocklists = load_blocklists(catalog, chosen.blocklist)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect(chosen)
        app.state.parts = Parts(
            settings=chosen,
            catalog=catalog,
            blocklists=blocklists,
            jobs=JobStore(redis, chosen),
            pictures=PictureStore(chosen),
            keyring=Keyring(Exchange(redis)),
            signals=Signals(redis),
            waiters=Waiters(chosen.max_waiters),
        )
        async with tracing.exporting(chosen.otlp_endpoint, "darkroom-api"), sending(chosen):
            background = [
                asyncio.create_task(work)
                for work in (
                    _warn(app.state.parts),
                    app.state.parts.signals.listen(),
                    _deliver(app.state.parts),
                )
            ]
            yield
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        await redis.aclose()

    # The pages at /docs bring their scripts along, so no reader's browser calls anybody else.
    app: FastAPI = FastAPIOffline(
        title="Darkroom",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        webhooks=deliveries.calls,
    )
    problems.install(app)
    describe(app)
    _add_layers(app, chosen)
    own = (jobs, events, deliveries, batches, models, queues, health, metrics, problem_kinds)
    app.router.routes.extend(jobs.quick.routes)
    for routes in (*own, openai, automatic1111):
        app.include_router(routes.router)
    page.install(app, chosen)
    return app


def _add_layers(app: FastAPI, chosen: Settings) -> None:
    """What every request passes before a route; the last of these comes first."""
    app.add_middleware(QuickLane, routes=jobs.quick.routes)
    larger = {picture_info.PATH: chosen.max_picture_body_bytes}
    app.add_middleware(BodyLimit, max_bytes=chosen.max_body_bytes, at=larger)
    told = {"/v1/images": openai_errors.refusal, "/sdapi": automatic1111_errors.refusal}
    app.add_middleware(Access, settings=chosen, refusals=told)
    headers.install(app, chosen)
    app.add_middleware(Observed)


async def _warn(parts: Parts) -> None:
    """Say in the log what would break the promise that nothing is lost."""
    for warning in await checks.warnings(parts.jobs.redis, parts.pictures):
        log.warning("%s", warning)


async def _deliver(parts: Parts) -> None:
    """Tell clients what happens to their jobs."""
    deliverer = Deliverer(
        parts.settings, parts.jobs, parts.signals, lambda job: with_urls(job, parts)
    )
    await deliverer.run()
