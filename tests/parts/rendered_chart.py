"""The Helm chart as a cluster would get it: rendered by Helm itself, offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

REPOSITORY = Path(__file__).parent.parent.parent
CHART = REPOSITORY / "deploy" / "chart"
EXAMPLES = {file.stem: file for file in (REPOSITORY / "deploy" / "examples").glob("*.yaml")}

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """Every object that a set of values makes."""

    objects: tuple[Object, ...]

    def of(self, kind: str) -> dict[str, Object]:
        """The objects of a kind, by name."""
        return {o["metadata"]["name"]: o for o in self.objects if o["kind"] == kind}

    @property
    def pods(self) -> dict[str, Object]:
        """The pods' specifications, by the name of their Deployment."""
        return {name: o["spec"]["template"]["spec"] for name, o in self.of("Deployment").items()}

    @property
    def workers(self) -> dict[str, Object]:
        return {name: pod for name, pod in self.pods.items() if "-worker-" in name}

    @property
    def containers(self) -> list[Object]:
        return [
            container
            for pod in self.pods.values()
            for container in (*pod.get("initContainers", ()), *pod["containers"])
        ]


def render(values: Mapping[str, Any]) -> Rendered:
    """
    Raises:
        helm_python.HelmError: the values break their schema, or a template does.
    """
    with helm.Chart.load(CHART) as chart:
        files = chart.render(dict(values), name="dr", namespace="pictures")
    manifests = [text for path, text in files.items() if path.endswith(".yaml")]
    return Rendered(tuple(o for text in manifests for o in yaml.safe_load_all(text) if o))


def example(name: str) -> Any:
    """The values of an example."""
    return yaml.safe_load(EXAMPLES[name].read_text())
