"""Models from strangers: pickles wherever weights can lie, and paths that lead out."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from tiny_classifier import save_classifier

from pipelines.catalog import SafetyCheckerSpec
from pipelines.errors import ModelLoadError
from pipelines.loading import load_pipeline

CPU = torch.device("cpu")
#: How files of weights are named by the libraries that we load with.
NAMES = [
    *("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"),
    *("adapter_model.bin", "tf_model.h5", "flax_model.msgpack", "model.pth", "optimizer.pt"),
]


class Evil:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self):
        return open, (str(self._proof), "w")


def dump_plainly(evil, path):
    path.write_bytes(pickle.dumps(evil))


@pytest.fixture
def proof(tmp_path):
    return tmp_path / "was run"


@pytest.fixture(params=["sd", "sdxl", "janus", "pag"])
def entry(request, spec_of, tmp_path):
    """An entry of each format and way to run it, whose folder a test may spoil."""
    spec = spec_of(request.param)
    shutil.copytree(spec.source, tmp_path / "model")
    return spec.model_copy(update={"name": "spoilt", "source": str(tmp_path / "model")})


def folders_of_weights(entry) -> list[Path]:
    return sorted({path.parent for path in Path(entry.source).rglob("*.safetensors")})


def test_a_pickle_is_a_pickle(tmp_path, proof):
    """The attack works where nobody stands in its way."""
    (tmp_path / "evil").write_bytes(pickle.dumps(Evil(proof)))
    pickle.loads((tmp_path / "evil").read_bytes()).close()
    assert proof.exists()


def test_pickles_beside_safetensors_are_never_opened(entry, proof):
    for folder in folders_of_weights(entry):
        for name in NAMES:
            torch.save(Evil(proof), folder / name)
    load_pipeline(entry, CPU)
    assert not proof.exists()


def test_pickles_instead_of_safetensors_are_refused(entry, proof):
    for folder in folders_of_weights(entry):
        for weights in folder.glob("*.safetensors"):
            torch.save(Evil(proof), weights.with_suffix(".bin"))
            weights.unlink()
    with pytest.raises(ModelLoadError, match="convert them to safetensors"):
        load_pipeline(entry, CPU)
    assert not proof.exists()


@pytest.mark.parametrize(
    "dump", [torch.save, lambda evil, path: path.write_bytes(pickle.dumps(evil))]
)
def test_a_pickle_that_calls_itself_safetensors_is_refused(entry, proof, dump):
    for folder in folders_of_weights(entry):
        for weights in folder.glob("*.safetensors"):
            dump(Evil(proof), weights)
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_pipeline(entry, CPU)
    assert not proof.exists()


@pytest.mark.parametrize("target", ["evil.bin", "../evil.bin", "../../outside.safetensors"])
def test_an_index_of_shards_names_safetensors_of_its_own_folder_or_nothing(entry, proof, target):
    for folder in folders_of_weights(entry):
        for weights in folder.glob("*.safetensors"):
            torch.save(Evil(proof), folder / target)
            index = {"metadata": {}, "weight_map": {"any.weight": target}}
            weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
            weights.rename(folder / "decoy.safetensors")
    with pytest.raises(ModelLoadError, match="its index names"):
        load_pipeline(entry, CPU)
    assert not proof.exists()


def test_a_pickle_among_a_safety_checker_s_files_is_never_opened(spec_of, tmp_path, proof):
    folder = save_classifier(tmp_path / "checker", "normal")
    for name in NAMES:
        torch.save(Evil(proof), folder / name)
    checker = SafetyCheckerSpec(source=str(folder))
    spec = spec_of("sd").model_copy(update={"name": "checked", "safety_checker": checker})
    load_pipeline(spec, CPU)
    assert not proof.exists()
