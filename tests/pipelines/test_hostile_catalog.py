"""Whatever is written into `models.yaml`: a catalogue, or one clear error that names the entry."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.catalog import Catalog, Family, ModelSpec
from pipelines.errors import CatalogError

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates()),
    st.sampled_from([*map(str, Family), "./model", "a/b", "Euler", 10**400, -1, "~nobody/x"]),
)
VALUES = st.recursive(
    SCALARS | st.just([64, 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
FAMILIES = st.sampled_from(list(map(str, Family)))
ENTRIES = st.fixed_dictionaries(
    {"family": FAMILIES | VALUES, "source": st.just("a/b") | VALUES},
    optional={name: VALUES for name in ModelSpec.model_fields if name not in ("family", "source")},
)
NAMES = st.sampled_from(["mine", "a b", "", "../x", 7, None, True]) | st.text(max_size=20)
TEXTS = st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))

#: What YAML, and parsers of it, fall for.
TRAPS = [
    b"a: !!python/object/apply:os.system ['true']",
    b"a: !!python/name:os.system",
    b"!!python/module:os",
    b"a: &a [*a]",
    b"a: " + b"[" * 10_000,
    b"{" * 10_000,
    b"a: {" * 500,
    b"a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
    b"a: 2026-99-99",
    b"a: !!int x",
    b"a: !!binary x",
    b"? [a]\n: {family: sdxl, source: a/b}",
    b"? {a: b}\n: c",
    b'mine: {family: sdxl, source: "./a\\0b"}',
    b"mine: {family: sdxl, source: ~no-such-user/x}",
    b"mine: {family: sdxl, source: ./a, size: {default: [1e400, .inf], max: .nan}}",
    b"mine: {family: sdxl, source: ./a, safety_checker: {source: ./b, labels: {nsfw: .nan}}}",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalogue") / "models.yaml"


def refusal(file: Path, content: bytes) -> str | None:
    """The error that a person reads, unless it is a catalogue."""
    file.write_bytes(content)
    try:
        Catalog.load(file)
    except CatalogError as error:
        return str(error)
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES, entry=ENTRIES)
def test_any_entry_is_a_model_or_an_error_that_names_it(file: Path, name: Any, entry: Any) -> None:
    error = refusal(file, yaml.safe_dump({name: entry}).encode())
    assert error is None or error.startswith("model ")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | TEXTS)
def test_any_file_is_a_catalogue_or_an_error(file: Path, content: bytes) -> None:
    error = refusal(file, content)
    assert error is None or "model" in error


@pytest.mark.parametrize("content", TRAPS, ids=range(len(TRAPS)))
def test_a_trap_for_parsers_is_an_error(file: Path, content: bytes) -> None:
    assert refusal(file, content)
