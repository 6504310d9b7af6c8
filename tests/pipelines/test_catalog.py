"""The catalogue: what an entry says, what it may leave out, and what is wrong with it."""

import subprocess
import sys

import pytest

from pipelines.catalog import Catalog, Family
from pipelines.errors import CatalogError


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "models.yaml").write_text(text)
        return Catalog.load(tmp_path / "models.yaml")

    return read


@pytest.mark.parametrize("family", list(Family))
def test_three_lines_make_a_model_of_any_family(read, family):
    spec = read(f"mine: {{family: {family}, source: ./mine}}")["mine"]
    assert spec.steps.default <= spec.steps.max
    assert spec.scheduler is None


def test_a_folder_is_found_beside_the_file(read, tmp_path):
    spec = read("mine: {family: sdxl, source: ./mine}")["mine"]
    assert spec.is_folder
    assert spec.source == str(tmp_path / "mine")


def test_an_entry_may_name_its_scheduler(read):
    spec = read("mine: {family: flow, source: a/b, scheduler: UniPC}")["mine"]
    assert spec.scheduler == "UniPC"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("{family: nonesuch, source: a/b}", "family"),
        ("{family: sdxl}", "source: Field required"),
        ("{family: sdxl, source: a/b, extra: 1}", "extra: Extra inputs"),
        ("{family: sdxl, source: a/b, scheduler: Nonesuch}", "no scheduler 'Nonesuch': Euler"),
        ("{family: whole, source: a/b, scheduler: Euler}", "no scheduler 'Euler': none by name"),
        ("{family: flow, source: a/b, scheduler: DDIM}", "no scheduler 'DDIM'"),
        ("sdxl", "an entry is a mapping"),
    ],
)
def test_a_wrong_entry_is_named(read, entry, text):
    with pytest.raises(CatalogError) as caught:
        read(f"mine: {entry}")
    assert str(caught.value).startswith("model 'mine': ")
    assert text in str(caught.value)


@pytest.mark.parametrize("family", ["gan", "[sdxl]", "7", "null"])
def test_a_wrong_family_is_one_error_and_not_all_the_defaults_it_lacks(read, family):
    with pytest.raises(CatalogError) as caught:
        read(f"mine: {{family: {family}, source: a/b}}")
    families = "'stable-diffusion', 'sdxl', 'flow', 'janus' or 'whole'"
    assert str(caught.value) == f"model 'mine': family: Input should be {families}"


def test_the_catalogue_needs_no_torch():
    """The API validates with it on machines that have none."""
    code = (
        "import sys; import pipelines.catalog, pipelines.errors, pipelines.schedulers; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
