"""Generation parameters as AUTOMATIC1111 writes them."""

from jobs.infotext import infotext
from jobs.model import AdmittedRequest


def test_a_picture_s_parameters_are_prompt_negative_prompt_and_a_line_of_pairs(
    request_: AdmittedRequest,
) -> None:
    asked = request_.model_copy(
        update={"negative_prompt": "blurred, dark", "scheduler": "DPM++ 2M Karras", "images": 4}
    )
    assert infotext(asked, seed=9) == (
        "a red circle on a blue background\n"
        "Negative prompt: blurred, dark\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.0, Seed: 9, "
        "Size: 64x64, Model: shapes-sd"
    )


def test_what_was_not_asked_for_is_not_told(request_: AdmittedRequest) -> None:
    assert infotext(request_, seed=7) == (
        "a red circle on a blue background\n"
        "Steps: 20, CFG scale: 4.0, Seed: 7, Size: 64x64, Model: shapes-sd"
    )


def test_a_value_that_would_be_read_as_two_is_quoted(request_: AdmittedRequest) -> None:
    asked = request_.model_copy(update={"model": 'sd: "best", v2'})
    assert infotext(asked, seed=7).endswith('Model: "sd: \\"best\\", v2"')
