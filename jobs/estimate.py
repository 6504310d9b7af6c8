"""When a job will be ready: pure arithmetic on what was measured."""

import math
from datetime import datetime

from jobs.model import Estimate, Job, JobStatus
from jobs.standing import Standing


def estimate(job: Job, standing: Standing, *, ahead: int, now: datetime) -> Estimate | None:
    """
    Args:
        ahead: jobs that wait before this one, when it waits.

    Returns: None when nothing has been measured, or nobody works.
    """
    pace = standing.pace
    if not pace.is_known or not standing.workers:
        return None
    run_s = pace.run_seconds(job.request.length)
    if job.status is JobStatus.RUNNING and job.started_at:
        return _made(0, _left_s(job, run_s, (now - job.started_at).total_seconds()))
    # A slot is free once as many jobs have ended as wait before this one, and one more.
    mean_work = standing.mean_waiting_work or job.request.work
    return _made(pace.seconds_for((ahead + 1) * mean_work), run_s)


def images_per_s(job: Job, step: int, now: datetime) -> float | None:
    """How fast a running job's images come, when it is at some step; None at its very start."""
    if not step or job.started_at is None:
        return None
    elapsed_s = (now - job.started_at).total_seconds()
    return round(step / job.request.steps / elapsed_s, 3) if elapsed_s > 0 else None


def _left_s(job: Job, run_s: float, elapsed_s: float) -> float:
    """What a running job still needs: at first by such jobs, then by its own steps."""
    share = job.progress.step / job.progress.steps
    by_others = max(run_s - elapsed_s, 0)
    by_itself = elapsed_s * (1 - share) / share if share else math.inf
    return by_others if not share else (1 - share) * by_others + share * by_itself


def _made(wait_s: float, run_s: float) -> Estimate:
    return Estimate(eta_s=round(wait_s + run_s, 1), wait_s=round(wait_s, 1), run_s=round(run_s, 1))
