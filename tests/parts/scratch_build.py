"""Builds a Dockerfile without a container engine: each RUN is a script in a clean folder.

What a stage holds lies in a folder of its own. While a stage is built, one symbolic link leads to
its folder, and absolute paths are rewritten to begin with that link; so what an earlier stage wrote
down of its place (a virtual environment does) is true in a later one, as it is in an image.
"""

import io
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from dockerfile_parse import DockerfileParser

#: The folders of an image that its Dockerfile writes; all else is the base image's.
OURS = re.compile(r"(?<![\w./-])/(?=(opt/darkroom|build|data|usr/local)\b)")
RUN_WITHIN_S = 300


@dataclass
class Stage:
    """A stage as far as it has been built."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


class ScratchBuild:
    """A Dockerfile, and a folder for what its stages hold."""

    def __init__(self, dockerfile: Path, context: Path, folder: Path, **arguments: str) -> None:
        self._context, self._folder, self._given = context, folder, arguments
        self._link = folder / "root"
        self._defaults: dict[str, str] = {}
        self._lines: dict[str, list[dict[str, str]]] = {}
        self._built: dict[str, Stage] = {}
        self._parse(dockerfile.read_bytes())

    def build(self, target: str) -> Stage:
        """The stage of a name, after every stage that it stands on or copies from."""
        if target not in self._built:
            first, *rest = self._lines[target]
            stage = self._from(target, first["value"].split()[0])
            for line in rest:
                if line["instruction"] == "COPY" and (source := _source_stage(line["value"])):
                    self.build(source)
            self._lead_to(stage)
            for line in rest:
                getattr(self, f"_{line['instruction'].lower()}", _ignore)(stage, line["value"])
            self._built[target] = stage
        return self._built[target]

    def run(
        self, stage: Stage, *command: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[str]:
        """Start what the image starts, or a command in its place, in the image's environment."""
        self._lead_to(stage)
        return subprocess.Popen(
            command or (*stage.entrypoint, *stage.command),
            cwd=self.at(stage.workdir),
            env={**stage.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def at(self, text: str) -> str:
        """A text whose absolute paths lead into the stage under way."""
        return OURS.sub(f"{self._link}/", text)

    def _parse(self, content: bytes) -> None:
        lines: list[dict[str, str]] = []
        for line in DockerfileParser(fileobj=io.BytesIO(content)).structure:
            if line["instruction"] == "FROM":
                lines = self._lines[line["value"].split()[-1]] = []
            if self._lines:
                lines.append(line)
            elif line["instruction"] == "ARG":
                name, _, value = line["value"].partition("=")
                self._defaults[name] = value

    def _lead_to(self, stage: Stage) -> None:
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(stage.root)

    def _from(self, name: str, base: str) -> Stage:
        root = self._folder / name
        if base in self._lines:
            parent = self.build(base)
            shutil.copytree(parent.root, root, symlinks=True)
            return replace(parent, root=root, environment={**parent.environment}, arguments={})
        assert base.startswith("python:"), base
        root.mkdir()
        stage = Stage(root, {"PATH": f"{self._link}/usr/local/bin:{os.environ['PATH']}"})
        self._lead_to(stage)
        subprocess.run([sys.executable, "-m", "venv", f"{self._link}/usr/local"], check=True)
        return stage

    def _arg(self, stage: Stage, value: str) -> None:
        name, _, default = value.partition("=")
        stage.arguments[name] = self._given.get(name, self._defaults.get(name, default))

    def _env(self, stage: Stage, value: str) -> None:
        known = {**stage.arguments, **stage.environment}
        for pair in shlex.split(value):
            name, _, text = pair.partition("=")
            stage.environment[name] = self.at(string.Template(text).substitute(known))

    def _workdir(self, stage: Stage, value: str) -> None:
        stage.workdir = value
        Path(self.at(value)).mkdir(parents=True, exist_ok=True)

    def _copy(self, stage: Stage, value: str) -> None:
        source_stage = _source_stage(value)
        *sources, to = [word for word in value.split() if not word.startswith("--")]
        base = self._built[source_stage].root if source_stage else self._context
        target = Path(self.at(stage.workdir), self.at(to))
        for source in sources:
            found = base / source.lstrip("/")
            if found.is_dir():
                skipped = shutil.ignore_patterns("__pycache__") if not source_stage else None
                shutil.copytree(found, target, symlinks=True, ignore=skipped, dirs_exist_ok=True)
            else:
                place = target / found.name if to.endswith("/") else target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, place)

    def _run(self, stage: Stage, value: str) -> None:
        ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            ["sh", "-e", "-c", self.at(value)],
            cwd=self.at(stage.workdir),
            env={**ours, **stage.arguments, **stage.environment},
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {value}\n{done.stdout}{done.stderr}"

    def _user(self, stage: Stage, value: str) -> None:
        stage.user = value

    def _entrypoint(self, stage: Stage, value: str) -> None:
        stage.entrypoint = json.loads(value)

    def _cmd(self, stage: Stage, value: str) -> None:
        stage.command = json.loads(value)


def _source_stage(copy: str) -> str | None:
    found = re.search(r"--from=(\S+)", copy)
    return found[1] if found else None


def _ignore(stage: Stage, value: str) -> None:
    """What only an engine or a registry reads: labels, ports, health checks."""
