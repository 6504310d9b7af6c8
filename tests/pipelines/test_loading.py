"""What can be wrong with a catalogue entry's source is said before anything heavy happens."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from pipelines.catalog import Family
from pipelines.errors import ModelLoadError
from pipelines.loading import RUNNERS, default_device, load_pipeline, weigh_model

CPU = torch.device("cpu")


@pytest.fixture
def entry(spec_of, tmp_path):
    """An entry whose folder a test may spoil."""
    folder = tmp_path / "model"
    shutil.copytree(spec_of("sd").source, folder)
    return spec_of("sd").model_copy(update={"name": "spoilt", "source": str(folder)})


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def break_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def name_no_class(folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")


def name_another_class(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps(index | {"_class_name": "StableDiffusionXLPipeline"})
    )


def keep_only_pickles(folder: Path) -> None:
    for weights in (folder / "unet").glob("*.safetensors"):
        torch.save({}, weights.with_suffix(".bin"))
        weights.unlink()


def cut_weights(folder: Path) -> None:
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (remove, "does not exist"),
        (remove_index, "no model_index.json; is it in diffusers format?"),
        (break_index, "cannot be read"),
        (name_no_class, "does not name its pipeline"),
        (name_another_class, "write family: sdxl"),
        (keep_only_pickles, "convert them to safetensors"),
        (cut_weights, "cannot be loaded"),
    ],
)
def test_a_wrong_source_is_named_with_its_mend(spoil, mend, entry):
    spoil(Path(entry.source))
    with pytest.raises(ModelLoadError) as caught:
        load_pipeline(entry, CPU)
    assert str(caught.value).startswith("model 'spoilt': ")
    assert mend in str(caught.value)


@pytest.fixture
def janus_entry(spec_of, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(spec_of("janus").source, folder)
    return spec_of("janus").model_copy(update={"name": "spoilt", "source": str(folder)})


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def rewrite_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def name_no_architecture(folder: Path) -> None:
    rewrite_config(folder, architectures=[])


def be_as_first_published(folder: Path) -> None:
    rewrite_config(folder, architectures=["MultiModalityCausalLM"], model_type="multi_modality")


def keep_only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_the_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (remove_config, "no config.json; is it in transformers format?"),
        (name_no_architecture, "does not name its pipeline in architectures"),
        (be_as_first_published, "family janus does not run; it runs JanusForConditionalGeneration"),
        (keep_only_a_pickle, "convert them to safetensors"),
        (lose_the_template, "does not have a chat template"),
    ],
)
def test_a_wrong_folder_of_transformers_is_named_with_its_mend(spoil, mend, janus_entry):
    spoil(Path(janus_entry.source))
    with pytest.raises(ModelLoadError) as caught:
        load_pipeline(janus_entry, CPU)
    assert str(caught.value).startswith("model 'spoilt': ")
    assert mend in str(caught.value)


def test_code_beside_a_model_of_transformers_is_never_run(janus_entry, tmp_path):
    folder, proof = Path(janus_entry.source), tmp_path / "was run"
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    rewrite_config(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})
    load_pipeline(janus_entry, CPU)
    assert not proof.exists()


def test_code_in_a_model_is_never_run(entry, tmp_path):
    folder, proof = Path(entry.source), tmp_path / "was run"
    (folder / "unet" / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "Evil"]}))
    with pytest.raises(ModelLoadError, match="its unet comes from 'evil'"):
        load_pipeline(entry, CPU)
    assert not proof.exists()


def test_an_id_that_cannot_be_fetched_is_named(spec_of, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    entry = spec_of("sd").model_copy(update={"source": "darkroom/nonesuch"})
    with pytest.raises(ModelLoadError, match="model 'sd': darkroom/nonesuch cannot be fetched"):
        load_pipeline(entry, CPU)


@pytest.mark.parametrize("model", ["sd", "janus"])
def test_an_id_on_hugging_face_loads_from_its_local_copy(model, spec_of, tmp_path, monkeypatch):
    """With no network, an id that was fetched before is found where the Hub's library keeps it."""
    revision = "0" * 40
    home = tmp_path / "models--darkroom--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(revision)
    shutil.copytree(spec_of(model).source, home / "snapshots" / revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    entry = spec_of(model).model_copy(update={"source": "darkroom/tiny"})
    assert load_pipeline(entry, CPU).size_bytes == load_pipeline(spec_of(model), CPU).size_bytes


def test_a_model_is_weighed_without_loading_it(spec_of):
    loaded = load_pipeline(spec_of("sdxl"), CPU)
    weighed = weigh_model(spec_of("sdxl"), CPU)
    assert weighed == pytest.approx(loaded.size_bytes, rel=0.01)
    half = spec_of("sdxl").model_copy(update={"dtype": "bfloat16"})
    assert weigh_model(half, CPU) * 2 == weighed


def test_loading_is_timed_in_the_log(spec_of, caplog):
    with caplog.at_level(logging.INFO, "pipelines.loading"):
        load_pipeline(spec_of("sd"), CPU)
    assert "loaded model sd on cpu" in caplog.text


def test_every_family_has_its_runners():
    assert set(RUNNERS) == set(Family)


def test_the_default_device_is_the_gpu_where_there_is_one():
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
