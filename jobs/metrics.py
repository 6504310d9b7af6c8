"""Every metric of the service, declared here and nowhere else, as Prometheus has them.

Names and units follow Prometheus' own practice (https://prometheus.io/docs/practices/naming/).
What a label may hold is bounded: models, lanes, routes as they are written in the code, states.
`docs/operations.md` says what each is good for.
"""

import itertools
from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
#: What an API process tells, and what a worker does.
API: Final = CollectorRegistry()
WORKER: Final = CollectorRegistry()

ProcessCollector(registry=API)
ProcessCollector(registry=WORKER)

#: Seconds, from an answer out of memory to the longest that a client may ask to be held.
ANSWERS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Seconds, from one step of a small model to a job of many pictures.
STEPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
STAGES: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
JOBS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600)
LOADS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
SHARES: Final = tuple(tenth / 10 for tenth in range(1, 11))

# -- HTTP ------------------------------------------------------------------------------------------

HTTP_SECONDS: Final = Histogram(
    "darkroom_http_request_duration_seconds",
    "Until an answer begins, without the time that its client asked to be held.",
    ("method", "route", "status"),
    buckets=ANSWERS,
    registry=API,
)
HTTP_WAITERS: Final = Gauge(
    "darkroom_http_waiters", "Answers that are held until a job changes.", registry=API
)
HTTP_STREAMS: Final = Gauge("darkroom_http_streams", "Event streams that are open.", registry=API)

# -- the queue, as any API process sees it ---------------------------------------------------------

REDIS_UP: Final = Gauge(
    "darkroom_redis_up", "Whether Redis has answered this scrape.", registry=API
)
SUBMITTED: Final = Counter(
    "darkroom_jobs_submitted", "Jobs taken in.", ("model", "lane"), registry=API
)
QUEUE_JOBS: Final = Gauge("darkroom_queue_jobs", "Jobs that wait.", ("model", "lane"), registry=API)
QUEUE_AGE: Final = Gauge(
    "darkroom_queue_oldest_age_seconds",
    "How long the oldest of the jobs that start next has waited.",
    ("model", "lane"),
    registry=API,
)
QUEUE_WORK: Final = Gauge(
    "darkroom_queue_work_seconds",
    "How long one worker would need for the jobs that wait.",
    ("model", "lane"),
    registry=API,
)
UNFINISHED_WORK: Final = Gauge(
    "darkroom_unfinished_work_seconds",
    "How long one worker would need for all jobs that wait or run.",
    ("model",),
    registry=API,
)
RUNNING_JOBS: Final = Gauge("darkroom_running_jobs", "Jobs that run.", ("model",), registry=API)
WORKERS: Final = Gauge("darkroom_workers", "Workers that serve a model.", ("model",), registry=API)

# -- webhooks --------------------------------------------------------------------------------------

WEBHOOK_ATTEMPTS: Final = Counter(
    "darkroom_webhook_attempts",
    "Attempts at a delivery, by what they made of it.",
    ("outcome",),
    registry=API,
)
WEBHOOKS_OWED: Final = Gauge(
    "darkroom_webhooks_owed", "Deliveries that are not settled.", registry=API
)

# -- jobs, as the worker that runs them sees them --------------------------------------------------

JOB_WAIT_SECONDS: Final = Histogram(
    "darkroom_job_wait_seconds",
    "From a job's submission to its first start.",
    ("model", "lane"),
    buckets=JOBS,
    registry=WORKER,
)
ATTEMPT_SECONDS: Final = Histogram(
    "darkroom_attempt_duration_seconds",
    "From the start of a job to its end on this worker, by how it ended.",
    ("model", "outcome"),
    buckets=JOBS,
    registry=WORKER,
)
RETRIES: Final = Counter(
    "darkroom_job_retries",
    "Starts of a job whose earlier worker was lost.",
    ("model",),
    registry=WORKER,
)
LEASES_LOST: Final = Counter(
    "darkroom_leases_lost",
    "Jobs that this worker had to let go, since their lease had run out.",
    ("model",),
    registry=WORKER,
)

# -- images ----------------------------------------------------------------------------------------

IMAGES: Final = Counter("darkroom_images", "Pictures stored.", ("model",), registry=WORKER)
STAGE_SECONDS: Final = Histogram(
    "darkroom_image_stage_duration_seconds",
    "What each stage of an image took.",
    ("model", "stage"),
    buckets=STAGES,
    registry=WORKER,
)
STEP_SECONDS: Final = Histogram(
    "darkroom_step_duration_seconds",
    "One step of a whole batch.",
    ("model",),
    buckets=STEPS,
    registry=WORKER,
)
BATCH_FILL: Final = Histogram(
    "darkroom_batch_fill_ratio",
    "Rows of a step, of those that one may have.",
    ("model",),
    buckets=SHARES,
    registry=WORKER,
)
ENGINE_IMAGES: Final = Gauge(
    "darkroom_engine_images", "Images in the engine, at whatever stage.", registry=WORKER
)

# -- the device and the disk -----------------------------------------------------------------------

LOAD_SECONDS: Final = Histogram(
    "darkroom_model_load_duration_seconds",
    "Loading a model onto the device.",
    ("model",),
    buckets=LOADS,
    registry=WORKER,
)
MODELS_BYTES: Final = Gauge(
    "darkroom_models_bytes", "What the loaded models take on the device.", registry=WORKER
)
DEVICE_USED: Final = Gauge(
    "darkroom_device_memory_used_bytes",
    "Memory of the GPU that is taken, by whomever; without a GPU, of this process.",
    ("device",),
    registry=WORKER,
)
DEVICE_TOTAL: Final = Gauge(
    "darkroom_device_memory_bytes",
    "Memory of the GPU; without a GPU, of the machine.",
    ("device",),
    registry=WORKER,
)
OUTBOX_BYTES: Final = Gauge(
    "darkroom_outbox_bytes", "Pictures on this worker's disk that are not stored.", registry=WORKER
)


def exposition(registry: CollectorRegistry) -> bytes:
    """Everything of a process, in Prometheus' text format (`MEDIA_TYPE`)."""
    return generate_latest(registry)


def names(registry: CollectorRegistry) -> list[str]:
    """What a process's metrics are called, without the suffixes of a histogram's parts."""
    return [
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
    ]


def expect(metric: Counter | Histogram, *labels: Iterable[str]) -> None:
    """Have a metric tell 0 for these labels from the start, so that its first rise is seen.

    Args:
        labels: for each label of the metric, what it may hold.
    """
    for values in itertools.product(*labels):
        metric.labels(*values)
