"""What matters of the chart's objects, beyond that they are valid."""

import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rendered_chart import EXAMPLES, REPOSITORY, Object, Rendered, example, render

from api.app import create_app
from api.routes.queues import Queue, QueueList
from api.serving import STOP_WITHIN_S
from jobs.settings import Settings
from pipelines.catalog import Catalog
from worker.monitor import Monitor

DOCKERFILE = Path(REPOSITORY, "deploy/images/Dockerfile").read_text()
DEFAULTS = Settings()


def test_every_pod_has_no_more_rights_than_it_needs(rendered: Rendered) -> None:
    for pod in rendered.pods.values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in rendered.containers:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_pods_run_as_the_user_of_the_image(rendered: Rendered) -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    for pod in rendered.pods.values():
        context = pod["securityContext"]
        assert (str(context["runAsUser"]), str(context["runAsGroup"])) in users


def test_what_is_written_is_a_volume(rendered: Rendered) -> None:
    for name, pod in rendered.pods.items():
        (container,) = pod["containers"]
        written = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert written == ({"/tmp"} if name.endswith("-api") else {"/tmp", "/data/outbox"})
        assert "DARKROOM_OUTBOX=/data/outbox" in DOCKERFILE


def test_secrets_are_named_and_never_told(rendered: Rendered) -> None:
    secrets = {"REDIS_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "WEBHOOK_SECRET"}
    for container in rendered.containers:
        for variable in container["env"]:
            name = variable["name"].removeprefix("DARKROOM_")
            told = re.search("SECRET|PASSWORD|TOKEN|_KEY|URL", name) or name in secrets
            assert bool(told) == ("valueFrom" in variable), name
            assert not told or variable["valueFrom"]["secretKeyRef"]["name"] == "darkroom"
    assert not rendered.of("Secret")


def test_every_setting_is_one_and_is_given_once(
    rendered: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    for container in rendered.containers:
        names = [variable["name"] for variable in container["env"]]
        assert len(set(names)) == len(names)
        with monkeypatch.context() as environment:
            for variable in container["env"]:
                field = variable["name"].removeprefix("DARKROOM_").lower()
                assert field in Settings.model_fields or variable["name"] == "HF_HUB_OFFLINE"
                environment.setenv(variable["name"], variable.get("value", ""))
            environment.setenv("DARKROOM_REDIS_URL", "redis://redis")
            Settings()


def test_a_worker_may_drain_before_it_is_killed(rendered: Rendered) -> None:
    for pod in rendered.workers.values():
        (container,) = pod["containers"]
        drain_s = float(_environment(container)["DARKROOM_DRAIN_S"])
        assert pod["terminationGracePeriodSeconds"] >= drain_s + 30


def test_the_api_may_end_what_is_under_way_before_it_is_killed(rendered: Rendered) -> None:
    pod = rendered.pods["dr-api"]
    (container,) = pod["containers"]
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + STOP_WITHIN_S


def test_probes_ask_what_answers_where_it_listens(rendered: Rendered, settings: Settings) -> None:
    routes = create_app(settings).openapi()["paths"]
    monitor = Monitor(take_stock=lambda: None, is_hung=lambda: False)
    for name, pod in rendered.pods.items():
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        is_api = name.endswith("-api")
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            if kind not in container:
                assert is_api
                continue
            get = container[kind]["httpGet"]
            found = monitor.answer(get["path"])[0] is not HTTPStatus.NOT_FOUND
            assert get["path"] in routes if is_api else found
            setting = "PORT" if is_api else "WORKER_METRICS_PORT"
            assert f"DARKROOM_{setting}={ports[get['port']]}" in DOCKERFILE


def test_the_start_up_probe_waits_for_the_model() -> None:
    values = example("fleet")
    rendered = render(values)
    for model, own in values["models"].items():
        (container,) = rendered.workers[f"dr-worker-{model}"]["containers"]
        probe = container["startupProbe"]
        assert probe["httpGet"]["path"] == "/health/ready"
        waits_s = probe["periodSeconds"] * probe["failureThreshold"]
        assert waits_s >= own.get("startSeconds", 900)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_worker_gets_a_gpu_on_a_gpu_node(name: str) -> None:
    for pod in render(example(name)).workers.values():
        (container,) = pod["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu", 0)
        assert gpus == (0 if name == "no-gpu" else 1)
        assert bool(gpus) == ("nvidia.com/gpu.present" in pod["nodeSelector"])
        assert bool(gpus) == any(t["key"] == "nvidia.com/gpu" for t in pod["tolerations"])
        # While it fetches, nothing needs the GPU, and the pod has it anyway.
        assert all("resources" not in init for init in pod.get("initContainers", ()))


def test_every_model_has_one_deployment_that_loads_it_alone(rendered: Rendered) -> None:
    offered = _environment(rendered.pods["dr-api"]["containers"][0])["DARKROOM_MODELS"].split(",")
    loaded = [
        _environment(container)["DARKROOM_MODELS"]
        for pod in rendered.workers.values()
        for container in pod["containers"]
    ]
    assert sorted(loaded) == sorted(offered)
    assert set(offered) <= set(Catalog.load(REPOSITORY / "models.yaml"))


def test_workers_come_and_go_by_seconds_of_work(fleet: Rendered, settings: Settings) -> None:
    deployments = fleet.of("Deployment")
    scaled = fleet.of("ScaledObject")
    assert scaled.keys() == fleet.workers.keys()
    for name, o in scaled.items():
        spec = o["spec"]
        model = deployments[name]["metadata"]["labels"]["darkroom/model"]
        assert spec["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
        (trigger,) = spec["triggers"]
        url = urlsplit(trigger["metadata"]["url"])
        assert url.path in create_app(settings).openapi()["paths"]
        service = fleet.of("Service")[url.hostname.split(".")[0]]
        assert url.port in [port["port"] for port in service["spec"]["ports"]]
        many, field = re.fullmatch(
            rf'(\w+)\.#\(model=="{re.escape(model)}"\)\.(\w+)', trigger["metadata"]["valueLocation"]
        ).groups()
        assert many in QueueList.model_fields
        assert {"model", field} <= Queue.model_fields.keys()
        assert trigger["metadata"]["activationTargetValue"] == "0"
    minima = {name: o["spec"]["minReplicaCount"] for name, o in scaled.items()}
    assert minima == {
        "dr-worker-sdxl-base": 0,
        "dr-worker-flux-schnell": 0,
        "dr-worker-janus-pro-7b": 1,
    }


def test_keda_and_prometheus_come_with_the_key_of_the_same_secret(fleet: Rendered) -> None:
    (authentication,) = fleet.of("TriggerAuthentication").values()
    (by_keda,) = authentication["spec"]["secretTargetRef"]
    for o in fleet.of("ScaledObject").values():
        (trigger,) = o["spec"]["triggers"]
        assert trigger["metadata"]["authMode"] == "bearer"
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (endpoint,) = fleet.of("ServiceMonitor")["dr-api"]["spec"]["endpoints"]
    by_prometheus = endpoint["authorization"]["credentials"]
    assert {**by_prometheus, "parameter": "token"} == by_keda


def test_services_and_policies_mean_the_pods_they_are_for(rendered: Rendered) -> None:
    templates = [o["spec"]["template"] for o in rendered.of("Deployment").values()]
    for service in rendered.of("Service").values():
        pods = _selected(templates, service["spec"]["selector"])
        assert pods
        for pod in pods:
            ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    covered = 0
    for policy in rendered.of("NetworkPolicy").values():
        pods = _selected(templates, policy["spec"]["podSelector"]["matchLabels"])
        (way_in,) = policy["spec"]["ingress"]
        ports = {port["port"] for port in way_in["ports"]}
        assert all(_ports(pod) == ports for pod in pods)
        blocks = [to["ipBlock"] for to in policy["spec"]["egress"][0]["to"] if "ipBlock" in to]
        assert "169.254.169.254/32" in blocks[0]["except"]
        covered += len(pods)
    assert covered == len(templates)


def test_the_ingress_holds_as_long_as_the_api_does(fleet: Rendered) -> None:
    (ingress,) = fleet.of("Ingress").values()
    notes = {
        name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()
    }
    assert notes["proxy-buffering"] == "off"
    assert float(notes["proxy-read-timeout"]) > DEFAULTS.compat_wait_s
    body_bytes = int(notes["proxy-body-size"].removesuffix("m")) * 2**20
    assert body_bytes >= max(DEFAULTS.max_body_bytes, DEFAULTS.max_picture_body_bytes)


def test_the_outbox_has_room_for_what_the_worker_puts_there(rendered: Rendered) -> None:
    for pod in rendered.workers.values():
        (outbox,) = [v["emptyDir"] for v in pod["volumes"] if v["name"] == "outbox"]
        room_bytes = int(outbox["sizeLimit"].removesuffix("Gi")) * 2**30
        assert room_bytes > DEFAULTS.outbox_max_bytes


@pytest.mark.parametrize(
    ("source", "is_fetched", "has_volume"),
    [("download", True, True), ("volume", False, True), ("image", False, False)],
)
def test_weights_are_fetched_lie_there_or_are_in_the_image(
    source: str, is_fetched: bool, has_volume: bool
) -> None:
    rendered = render({"models": {"sdxl-base": {"weights": {"source": source}}}})
    pod = rendered.workers["dr-worker-sdxl-base"]
    fetching = pod.get("initContainers", [])
    assert [init["args"] for init in fetching] == [["fetch"]] * is_fetched
    assert [_weights(init) for init in fetching] == [{"/data/models": False}] * is_fetched
    assert _weights(pod["containers"][0]) == ({"/data/models": True} if has_volume else {})
    claims = rendered.of("PersistentVolumeClaim")
    assert list(claims) == ["dr-weights"] * has_volume
    for claim in claims.values():
        assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "HF_HOME=/data/models" in DOCKERFILE


def test_a_claim_of_ones_own_is_used_and_none_made() -> None:
    rendered = render(
        {"models": {"sdxl-base": {}}, "worker": {"weights": {"existingClaim": "ours"}}}
    )
    (pod,) = rendered.workers.values()
    claims = [v["persistentVolumeClaim"] for v in pod["volumes"] if v["name"] == "weights"]
    assert claims == [{"claimName": "ours"}]
    assert not rendered.of("PersistentVolumeClaim")


def test_a_catalogue_of_ones_own_reaches_every_pod_and_restarts_it() -> None:
    values = {"models": {"mine": {}}, "catalog": "mine: {family: sdxl, source: /data/mine}\n"}
    first, second = (render(values | {"catalog": text}) for text in (values["catalog"], "a: {}\n"))
    (config,) = first.of("ConfigMap").values()
    assert config["data"] == {"models.yaml": values["catalog"]}
    for container in first.containers:
        assert _environment(container)["DARKROOM_CATALOG"] == "/etc/darkroom/models.yaml"
        assert "/etc/darkroom" in [mount["mountPath"] for mount in container["volumeMounts"]]
    for name, o in first.of("Deployment").items():
        changed = second.of("Deployment")[name]
        assert _checksum(o) != _checksum(changed)


def _environment(container: Object) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def _weights(container: Object) -> dict[str, bool]:
    mounts = container["volumeMounts"]
    return {m["mountPath"]: m.get("readOnly", False) for m in mounts if m["name"] == "weights"}


def _selected(templates: list[Object], labels: Object) -> list[Object]:
    return [t for t in templates if labels.items() <= t["metadata"]["labels"].items()]


def _ports(template: Object) -> set[int]:
    return {port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}


def _checksum(deployment: Object) -> str:
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["checksum/catalog"])
