"""Samplers and schedule types as schedulers."""

import pytest

from api.compat.automatic1111.samplers import scheduler_of
from api.problems import Problem

TAKEN = ("Euler", "Euler Karras", "Euler a", "DPM++ 2M", "DPM++ 2M Karras", "DDIM")


@pytest.mark.parametrize(
    ("sampler", "schedule_type", "scheduler"),
    [
        (None, None, None),
        ("", "Karras", None),
        ("Automatic", None, None),
        ("Euler a", "automatic", "Euler a"),
        ("euler A", None, "Euler a"),
        ("Euler", "Karras", "Euler Karras"),
        ("Euler", "Uniform", "Euler"),
        ("Euler", "Automatic", "Euler"),
        # Where AUTOMATIC1111 has Karras by itself, and how its older clients name that.
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M", "Uniform", "DPM++ 2M"),
        ("DPM++ 2M Karras", None, "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "Karras", "DPM++ 2M Karras"),
    ],
)
def test_sampler_and_schedule_type_name_a_scheduler(
    sampler: str | None, schedule_type: str | None, scheduler: str | None
) -> None:
    assert scheduler_of(sampler, schedule_type, TAKEN) == scheduler


def test_what_is_usual_for_a_sampler_is_not_asked_of_a_model_without_it() -> None:
    assert scheduler_of("DPM++ 2M", "Automatic", ("DPM++ 2M",)) == "DPM++ 2M"


@pytest.mark.parametrize(
    ("sampler", "schedule_type", "field"),
    [
        ("Heun", None, "sampler_name"),
        ("DDIM", "Karras", "sampler_name"),
        ("Euler", "Beta", "scheduler"),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_what_it_takes(
    sampler: str, schedule_type: str | None, field: str
) -> None:
    with pytest.raises(Problem) as refused:
        scheduler_of(sampler, schedule_type, TAKEN)
    (fault,) = refused.value.errors
    assert fault.field == field
    assert all(str(name) in fault.detail for name in fault.limit)
