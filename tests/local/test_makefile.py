"""What the Makefile says when the machine lacks something, before it changes anything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh folder with just enough for `make` to start setting up."""
    (tmp_path / "client").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "client/pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *words: str, path: Path | None = None) -> list[str]:
    """What a failing `make` prints, without make's own closing line."""
    search = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    # These tests may themselves run under make, which would have its say in the output.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        env={**ours, "PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert not (folder / ".venv").exists()
    return done.stdout.splitlines()


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_a_missing_python_is_one_clear_line(checkout: Path) -> None:
    assert make(checkout, "run", "PYTHON=/nowhere/python") == [
        "Darkroom needs Python 3.11 or later as /nowhere/python; "
        "choose another: make run PYTHON=python3.12"
    ]


def test_an_old_python_is_one_clear_line(checkout: Path, tmp_path: Path) -> None:
    # An interpreter to which every version check answers no.
    old = program(tmp_path, "python3.9", "exit 1")
    (line,) = make(checkout, "run", f"PYTHON={old}")
    assert line.startswith("Darkroom needs Python 3.11 or later as ")


def test_a_python_without_venv_names_the_package(checkout: Path, tmp_path: Path) -> None:
    bare = program(tmp_path, "python3.11", 'case "$2" in *ensurepip*) exit 1;; esac')
    (line,) = make(checkout, "run", f"PYTHON={bare}")
    assert "sudo apt install python3-venv" in line


def test_a_full_disk_is_one_clear_line(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools, "df", "printf 'Filesystem 1024-blocks Used Available\\n/dev/x 9 9 9 100%% /\\n'")
    (line,) = make(checkout, "run", path=tools)
    assert line == "the disk is full: the virtual environment needs 3 GiB"


def test_make_alone_prints_every_target_with_a_line_of_help(checkout: Path) -> None:
    shown = subprocess.run(
        ["make"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout
    declared = (checkout / "Makefile").read_text().split(".PHONY:")[1].splitlines()[0].split()
    for target in declared:
        assert f"  make {target} " in shown
