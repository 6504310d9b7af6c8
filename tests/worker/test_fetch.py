"""`darkroom-server fetch`: weights are there before a worker is."""

from pathlib import Path

import pytest
import yaml
from hub_cache import keep_in_hub_cache

from jobs.settings import Settings
from worker import fetch

SHIPPED = Path(__file__).parent.parent.parent / "pipelines" / "demo" / "shapes-sd"


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue still to be written, and a cache of weights with nobody outside to fill it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    file = tmp_path / "models.yaml"
    monkeypatch.setattr(fetch, "settings", lambda: Settings(catalog=file, models=("mine",)))
    return file


def entry(family: str, source: str, **more: object) -> str:
    return yaml.safe_dump({"mine": {"family": family, "source": source, **more}})


def test_what_is_there_is_named_with_its_place(
    catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep_in_hub_cache(SHIPPED, catalogue.parent, "darkroom/shapes")
    catalogue.write_text(entry("stable-diffusion", "darkroom/shapes"))
    fetch.main()
    assert f"model mine is in {kept}" in "".join(capsys.readouterr())


def test_what_cannot_be_had_is_one_line(catalogue: Path) -> None:
    catalogue.write_text(entry("stable-diffusion", "darkroom/nonesuch"))
    with pytest.raises(SystemExit, match="'mine': darkroom/nonesuch cannot be fetched"):
        fetch.main()


def test_what_a_worker_would_refuse_is_refused_already(catalogue: Path) -> None:
    keep_in_hub_cache(SHIPPED, catalogue.parent, "darkroom/shapes")
    catalogue.write_text(entry("sdxl", "darkroom/shapes"))
    with pytest.raises(SystemExit, match="it is a StableDiffusionPipeline"):
        fetch.main()


def test_a_safety_checker_is_fetched_with_its_model(catalogue: Path) -> None:
    keep_in_hub_cache(SHIPPED, catalogue.parent, "darkroom/shapes")
    checker = {"source": "darkroom/nonesuch"}
    catalogue.write_text(entry("stable-diffusion", "darkroom/shapes", safety_checker=checker))
    with pytest.raises(SystemExit, match="'mine': the safety checker darkroom/nonesuch cannot be"):
        fetch.main()
