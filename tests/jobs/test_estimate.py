"""When a job will be ready: pure arithmetic, held against what then happens."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.estimate import estimate, images_per_s
from jobs.model import AdmittedRequest, Job, JobStatus, Progress, QueuePlace
from jobs.pace import Pace
from jobs.record import new_job
from jobs.standing import Standing

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def pace(request: AdmittedRequest, *, every_s: float, ran_s: float) -> Pace:
    """One such job ended every so many seconds, each having run for `ran_s`."""
    count = 50
    return Pace(
        work=count * request.work,
        busy_ms=count * every_s * 1000,
        jobs=count,
        ran_ms=count * ran_s * 1000,
        work_ran_ms=count * request.work * ran_s * 1000,
        runs=((request.length, ran_s * 1000),),
    )


def standing(request: AdmittedRequest, known: Pace, *, workers: int, unfinished: int) -> Standing:
    return Standing(
        workers=workers,
        running=unfinished,
        unfinished=unfinished,
        load=unfinished * request.work,
        pace=known,
    )


def waiting(request: AdmittedRequest, ahead: int, workers: int) -> Job:
    place = QueuePlace(position=ahead, workers=workers)
    return new_job("0" * 32, request, 0).model_copy(update={"queue": place})


def running(request: AdmittedRequest, *, for_s: float, step: int) -> Job:
    return waiting(request, 0, 1).model_copy(
        update={
            "status": JobStatus.RUNNING,
            "queue": None,
            "started_at": NOW - timedelta(seconds=for_s),
            "progress": Progress(step=step, steps=request.steps),
        }
    )


def test_who_waits_is_told_of_those_ahead_and_of_its_own_run(request_: AdmittedRequest) -> None:
    known = standing(request_, pace(request_, every_s=2, ran_s=8), workers=1, unfinished=14)
    told = estimate(waiting(request_, 9, 1), known, ahead=9, now=NOW)
    assert told is not None
    assert (told.wait_s, told.run_s, told.eta_s) == (20, 8, 28)


def test_a_running_job_s_speed_is_that_of_its_steps_so_far(request_: AdmittedRequest) -> None:
    job = running(request_, for_s=4, step=request_.steps)
    assert images_per_s(job, 2 * request_.steps, NOW) == 0.5
    assert images_per_s(job, 0, NOW) is None
    # Of an earlier attempt.
    assert images_per_s(job, 5, NOW - timedelta(seconds=5)) is None


@given(share=st.floats(0.05, 1), speed=st.floats(0.25, 4))
def test_a_running_job_corrects_what_others_led_to_expect(share: float, speed: float) -> None:
    """It runs at some speed, relative to the jobs before it; near its end its own steps count."""
    request = AdmittedRequest.model_validate(
        {
            "prompt": "a",
            "negative_prompt": "",
            "model": "m",
            "width": 64,
            "height": 64,
            "steps": 1_000,
            "guidance_scale": 1,
            "scheduler": None,
            "images": 1,
            "seed": 1,
            "output_format": "png",
        }
    )
    known = standing(request, pace(request, every_s=1, ran_s=10), workers=1, unfinished=1)
    whole_s = 10 / speed
    job = running(request, for_s=whole_s * share, step=round(1_000 * share))
    told = estimate(job, known, ahead=0, now=NOW)
    assert told is not None
    left_s = whole_s * (1 - share)
    naive_s = max(10 - whole_s * share, 0)
    assert abs(told.eta_s - left_s) <= (1 - share) * abs(naive_s - left_s) + 0.2


@pytest.mark.parametrize(
    ("workers", "known"), [(0, True), (1, False)], ids=["nobody works", "nothing measured"]
)
def test_nothing_is_promised_that_nothing_speaks_for(
    request_: AdmittedRequest, workers: int, known: bool
) -> None:
    measured = pace(request_, every_s=2, ran_s=8) if known else Pace()
    where = standing(request_, measured, workers=workers, unfinished=1)
    assert estimate(waiting(request_, 0, workers), where, ahead=0, now=NOW) is None
