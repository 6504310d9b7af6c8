"""What a request may hold, and which states follow which."""

import pytest
from pydantic import ValidationError

from jobs.model import MAX_SEED, TRANSITIONS, JobRequest, JobStatus, OutputFormat, states_before


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("prompt", "", "at least 1 character"),
        ("prompt", "   ", "at least 1 character"),
        ("prompt", "x" * 2_001, "at most 2000 characters"),
        ("negative_prompt", "x" * 2_001, "at most 2000 characters"),
        ("width", 7, "greater than or equal to 8"),
        ("height", 4_097, "less than or equal to 4096"),
        ("steps", 0, "greater than or equal to 1"),
        ("guidance_scale", -0.1, "greater than or equal to 0"),
        ("guidance_scale", float("nan"), "finite number"),
        ("images", 0, "greater than or equal to 1"),
        ("images", 17, "less than or equal to 16"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", MAX_SEED + 1, f"less than or equal to {MAX_SEED}"),
        ("output_format", "gif", "'png', 'webp' or 'jpeg'"),
        ("colour", "red", "Extra inputs are not permitted"),
    ],
)
def test_a_request_names_the_field_and_the_limit_it_breaks(
    field: str, value: object, limit: str
) -> None:
    with pytest.raises(ValidationError, match=limit) as refused:
        JobRequest.model_validate({"prompt": "a circle", field: value})
    assert refused.value.errors()[0]["loc"] == (field,)


def test_a_request_needs_nothing_but_a_prompt() -> None:
    request = JobRequest(prompt="  a circle ")
    assert request.prompt == "a circle"
    assert request.images == 1
    assert request.output_format is OutputFormat.PNG


def test_every_state_is_reachable_and_the_finished_ones_are_final() -> None:
    assert set(TRANSITIONS) == set(JobStatus)
    for status in JobStatus:
        assert states_before(status), f"{status} cannot be reached"
    assert {status for status in JobStatus if status.finished} == {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELED,
    }
