"""What the chart renders obeys the schemas of Kubernetes, KEDA and the Prometheus operator."""

from collections.abc import Mapping
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
from rendered_chart import CHART, Rendered, example, render

#: Made from the custom resource definitions of their projects.
CUSTOM = {model.__name__: model for model in (ScaledObject, TriggerAuthentication, ServiceMonitor)}
OLDEST = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].strip(">=").split(".")
NEWEST = str(kubernetes_validate.__version__).split(".")


@pytest.mark.parametrize("version", [OLDEST, NEWEST], ids=["oldest", "newest"])
def test_every_object_obeys_the_schema_of_its_kind(rendered: Rendered, version: list[str]) -> None:
    assert rendered.objects
    for o in rendered.objects:
        if o["kind"] in CUSTOM:
            assert_obeys(CUSTOM[o["kind"]], o)
        else:
            kubernetes_validate.validate(o, ".".join(version[:2]), strict=True)


def test_what_a_custom_resource_does_not_know_is_found(fleet: Rendered) -> None:
    scaled = next(iter(fleet.of("ScaledObject").values()))
    with pytest.raises(AssertionError):
        assert_obeys(ScaledObject, {**scaled, "spec": {**scaled["spec"], "minReplicas": 0}})


def test_names_are_unique_and_short_enough_for_dns(rendered: Rendered) -> None:
    names = [(o["kind"], o["metadata"]["name"]) for o in rendered.objects]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_helm_has_nothing_to_say_against_it() -> None:
    found = helm.lint(CHART, example("fleet"))
    assert found["errors"] == []
    # An icon is a matter of taste.
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize(
    "values",
    [
        {"models": {}},
        {"models": {"Sdxl": {}}},
        {"models": {"sdxl-base": {"gpus": 1}}},
        {"replicas": 3},
        {"existingSecret": ""},
        {"s3": {"endpoint": "s3.example.org"}},
        {"settings": {"redis_url": "redis://:secret@redis"}},
        {"settings": {"webhook_secret": "whsec_"}},
        {"worker": {"settings": {"s3_secret_key": "secret"}}},
        {"worker": {"settings": {"drain_s": 600}}},
        {"worker": {"weights": {"source": "hub"}}},
        {"worker": {"autoscaling": {"workSecondsPerWorker": 0}}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(values: Mapping[str, Any]) -> None:
    with pytest.raises(helm.HelmError, match="don't meet the specifications of the schema"):
        render({"models": {"sdxl-base": {}}} | values)


def assert_obeys(model: Any, o: Mapping[str, Any]) -> None:
    """A model drops what its definition does not know, so that all must come out as it went in."""
    kept = model.model_validate(o).model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert kept["spec"] == o["spec"]
