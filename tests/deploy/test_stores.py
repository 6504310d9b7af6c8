"""Redis and S3 for a cluster of one node: valid, and the same servers as the compose file's."""

from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import yaml
from rendered_chart import REPOSITORY

OBJECTS = list(yaml.safe_load_all((REPOSITORY / "deploy" / "stores.yaml").read_text()))
COMPOSE = yaml.safe_load((REPOSITORY / "deploy" / "compose" / "compose.yaml").read_text())
SETS = {o["metadata"]["name"]: o["spec"] for o in OBJECTS if o["kind"] == "StatefulSet"}


def container(name: str) -> Mapping[str, Any]:
    (found,) = SETS[name]["template"]["spec"]["containers"]
    return found


def test_every_object_obeys_the_schema_of_its_kind() -> None:
    for o in OBJECTS:
        kubernetes_validate.validate(o, "1.30", strict=True)


def test_both_are_the_servers_of_the_compose_file() -> None:
    for name in SETS:
        service = COMPOSE["services"][name]
        assert container(name)["image"] == service["image"]
        user = SETS[name]["template"]["spec"]["securityContext"]["runAsUser"]
        assert service["user"] == f"{user}:{user}"
    assert container("s3")["args"] == COMPOSE["services"]["s3"]["command"]


def test_redis_is_configured_as_in_the_compose_file() -> None:
    (config,) = [o["data"]["redis.conf"] for o in OBJECTS if o["kind"] == "ConfigMap"]
    text = (REPOSITORY / "deploy" / "compose" / "redis.conf").read_text()
    assert config.split("\n") == [line for line in text.split("\n") if not line.startswith("#")]


def test_neither_has_more_rights_than_it_needs_nor_tells_a_secret() -> None:
    for name, spec in SETS.items():
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        context = container(name)["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        told = [variable for variable in container(name)["env"] if "value" in variable]
        assert told == ([] if name == "redis" else [{"name": "S3_BUCKET", "value": "darkroom"}])
