"""webuiapi, a published client of AUTOMATIC1111's API, against the whole stack."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import webuiapi

pytestmark = pytest.mark.system

PROMPT = "a red circle on a blue background"
SIZE = {"width": 64, "height": 64}


@pytest.fixture
def client(service: Any) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(port=service.port)


def test_pictures_come_with_how_they_were_made(client: webuiapi.WebUIApi) -> None:
    made = client.txt2img(prompt=PROMPT, seed=3, cfg_scale=2.0, batch_size=2, **SIZE)
    assert [image.size for image in made.images] == [(64, 64)] * 2
    assert made.info["all_seeds"] == [3, 4]
    assert made.info["sampler_name"] == "Euler a"
    assert made.images[0].info["parameters"] == made.info["infotexts"][0]


def test_a_picture_tells_how_it_was_made(client: webuiapi.WebUIApi) -> None:
    made = client.txt2img(prompt=PROMPT, seed=3, **SIZE)
    told = client.png_info(made.image)
    assert (told.parameters["Prompt"], told.parameters["Seed"]) == (PROMPT, "3")


def test_a_model_without_steps_and_samplers_takes_what_clients_send(
    client: webuiapi.WebUIApi,
) -> None:
    chosen = {"sd_model_checkpoint": "shapes-janus"}
    made = client.txt2img(
        prompt=PROMPT, negative_prompt="stars", steps=20, override_settings=chosen, **SIZE
    )
    assert made.image.size == (64, 64)
    assert made.info["sd_model_name"] == "shapes-janus"


def test_models_are_chosen_and_lists_are_read(client: webuiapi.WebUIApi) -> None:
    client.util_set_model("shapes-sd")
    assert client.util_get_current_model() == "shapes-sd"
    assert "shapes-sd" in client.util_get_model_names()
    assert "Euler a" in client.util_get_sampler_names()
    assert "karras" in client.util_get_scheduler_names()
    assert client.get_loras() == client.get_upscalers() == client.get_prompt_styles() == []
    assert client.get_memory()["ram"]["total"] > 0
    assert client.refresh_checkpoints() is None
    client.util_wait_for_ready()


def test_a_refusal_names_the_field(client: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="enable_hr"):
        client.txt2img(prompt=PROMPT, enable_hr=True, **SIZE)


def test_progress_shows_the_picture_and_interrupt_stops_it(
    client: webuiapi.WebUIApi, until: Callable[[Callable[[], bool], float], None]
) -> None:
    made: list[webuiapi.WebUIApiResult] = []
    seen: list[dict[str, Any]] = []

    def make() -> None:
        made.append(client.txt2img(prompt=PROMPT, steps=100, batch_size=8, n_iter=2, **SIZE))

    def is_shown() -> bool:
        seen.append(client.get_progress())
        return bool(seen[-1]["current_image"]) and seen[-1]["progress"] > 0

    making = threading.Thread(target=make)
    making.start()
    until(is_shown, 60)
    assert seen[-1]["state"]["sampling_steps"] == 100
    client.interrupt()
    making.join(timeout=30)
    assert not making.is_alive()
    assert made[0].images == []
    assert client.get_progress()["state"]["job_count"] == 0
