"""The safety checker: a real classifier, and what becomes of what it finds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_classifier import save_classifier

from pipelines.catalog import SafetyAction, SafetyCheckerSpec
from pipelines.engine import Engine
from pipelines.errors import ModelLoadError
from pipelines.loading import load_pipeline, weigh_model
from pipelines.safety import load_checker

CPU = torch.device("cpu")


@pytest.fixture
def checked(spec_of, tmp_path):
    """A tiny model beside a checker that is sure of a label."""

    def checked(sure_of="nsfw", **options):
        source = str(save_classifier(tmp_path / f"sure of {sure_of}", sure_of))
        checker = SafetyCheckerSpec(source=source, **options)
        return spec_of("sd").model_copy(update={"name": "checked", "safety_checker": checker})

    return checked


def picture_of(spec, request):
    with Engine(CPU) as engine:
        return engine.submit(spec, request).future.result(timeout=60)


def test_what_is_found_is_withheld_by_default(checked, make_request):
    picture = picture_of(checked(), make_request(width=64, height=32))
    assert (picture.flagged, picture.is_withheld) == (("nsfw",), True)
    assert picture.image.size == (64, 32)
    assert not np.asarray(picture.image).any()


def test_what_is_only_flagged_is_the_picture_itself(checked, spec_of, make_request):
    flagged = picture_of(checked(action=SafetyAction.FLAG), make_request())
    plain = picture_of(spec_of("sd"), make_request())
    assert (flagged.flagged, flagged.is_withheld) == (("nsfw",), False)
    assert flagged.image == plain.image


@pytest.mark.parametrize(
    ("sure_of", "labels"), [("normal", {"nsfw": 0.5}), ("nsfw", {"nsfw": 0.9999})]
)
def test_what_is_below_its_score_is_not_found(checked, make_request, sure_of, labels):
    picture = picture_of(checked(sure_of, labels=labels), make_request())
    assert (picture.flagged, picture.is_withheld) == ((), False)
    assert np.asarray(picture.image).any()


def test_a_checker_counts_as_a_part_of_its_model(checked, spec_of):
    spec = checked()
    alone = load_pipeline(spec_of("sd"), CPU).size_bytes
    assert load_pipeline(spec, CPU).size_bytes > alone
    assert weigh_model(spec, CPU) > weigh_model(spec_of("sd"), CPU)


def lose_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("[")


def be_a_detector(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"architectures": ["ViTForMaskedImageModeling"]})
    )


def keep_only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lose_config, "no config.json"),
        (break_config, "no config.json"),
        (be_a_detector, "labels no pictures"),
        (keep_only_a_pickle, "pytorch_model.bin only; convert them to safetensors"),
    ],
)
def test_a_checker_that_is_none_is_named_with_its_mend(checked, spoil, mend):
    spec = checked()
    spoil(Path(spec.safety_checker.source))
    with pytest.raises(ModelLoadError) as caught:
        load_pipeline(spec, CPU)
    assert str(caught.value).startswith("model 'checked': the safety checker ")
    assert mend in str(caught.value)


def test_a_label_that_it_does_not_have_is_named_with_those_it_has(checked):
    with pytest.raises(ModelLoadError, match="no label 'gore'; it has: normal, nsfw"):
        load_checker(checked(labels={"gore": 0.5}), CPU)


def test_code_beside_a_checker_is_never_run(checked, tmp_path):
    spec, proof = checked(), tmp_path / "was run"
    folder = Path(spec.safety_checker.source)
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "evil.Evil", "AutoModelForImageClassification": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": auto_map}))
    assert load_checker(spec, CPU) is not None
    assert not proof.exists()
