"""The manifests and the image name only what the service has: settings, commands, ports, paths, metrics, queues."""

from __future__ import annotations

import json
import re
import tomllib
from urllib.parse import urlsplit

import typer.main

from jobs.settings import PREFIX, Settings
from service.cli import app as command_line
from tests.conftest import ROOT
from tests.packing.conftest import K8S, Manifest, of_kind, own_pods, pods

VARIABLES = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}


def _settings(manifests: list[Manifest]) -> dict[str, str]:
    return next(item["data"] for name, item in of_kind(manifests, "ConfigMap").items() if "settings" in name)


def test_every_variable_is_a_setting_and_its_value_is_valid(manifests: list[Manifest]) -> None:
    given = dict(_settings(manifests))
    for template in own_pods(manifests).values():
        variables = template["spec"]["containers"][0]["env"]
        given |= {variable["name"]: variable.get("value") for variable in variables}
    ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    assert ours.keys() <= VARIABLES
    values = {name.removeprefix(PREFIX).lower(): value for name, value in ours.items() if value is not None}
    settings = Settings(**values)  # type: ignore[arg-type]
    assert settings.redis_url.endswith("@cuecheck-redis:6379/0")


def test_every_command_exists_with_its_options(manifests: list[Manifest]) -> None:
    group = typer.main.get_command(command_line)
    for owner, template in own_pods(manifests).items():
        name, *arguments = template["spec"]["containers"][0]["args"]
        command = group.commands[name]  # type: ignore[attr-defined]
        context = command.make_context(name, arguments)
        assert not context.args, owner


def test_ports_agree_from_the_setting_to_the_service(manifests: list[Manifest]) -> None:
    api = own_pods(manifests)["Deployment/cuecheck-api"]["spec"]["containers"][0]
    assert api["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]
    assert of_kind(manifests, "Service")["cuecheck-api"]["spec"]["ports"][0]["targetPort"] == "http"
    for monitor in of_kind(manifests, "ServiceMonitor").values():
        assert monitor["spec"]["endpoints"][0]["port"] == "http"


def test_selectors_find_their_pods(manifests: list[Manifest]) -> None:
    labels = {owner: template["metadata"]["labels"] for owner, template in pods(manifests)}
    for service, owner in (
        ("cuecheck-api", "Deployment/cuecheck-api"),
        ("cuecheck-redis", "StatefulSet/cuecheck-redis"),
    ):
        selector = of_kind(manifests, "Service")[service]["spec"]["selector"]
        assert [pod for pod, found in labels.items() if selector.items() <= found.items()] == [owner]
    budget = of_kind(manifests, "PodDisruptionBudget")["cuecheck-api"]["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels["Deployment/cuecheck-api"].items()
    assert budget["minAvailable"] < of_kind(manifests, "Deployment")["cuecheck-api"]["spec"]["replicas"]
    for monitor in of_kind(manifests, "ServiceMonitor").values():
        service = of_kind(manifests, "Service")["cuecheck-api"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_probes_ask_paths_that_answer_without_a_key(manifests: list[Manifest]) -> None:
    from service.auth import OPEN_PATHS

    api = own_pods(manifests)["Deployment/cuecheck-api"]["spec"]["containers"][0]
    assert api["livenessProbe"]["httpGet"]["path"] == api["startupProbe"]["httpGet"]["path"] == "/livez"
    assert api["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"/livez", "/readyz"} <= OPEN_PATHS


def test_a_shard_that_has_begun_is_finished(manifests: list[Manifest]) -> None:
    longest = int(_settings(manifests)["CUECHECK_SHARD_TIMEOUT_SECONDS"])
    for owner, template in own_pods(manifests).items():
        if template["metadata"]["labels"]["app.kubernetes.io/component"] == "worker":
            assert template["spec"]["terminationGracePeriodSeconds"] > longest, owner
    job = of_kind(manifests, "ScaledJob")["cuecheck-worker"]["spec"]["jobTargetRef"]
    assert job["activeDeadlineSeconds"] > longest


def test_requests_in_flight_are_finished_before_the_service_ends(manifests: list[Manifest]) -> None:
    spec = own_pods(manifests)["Deployment/cuecheck-api"]["spec"]
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    asleep = float(command[1])
    assert command[0] == "sleep"
    assert spec["terminationGracePeriodSeconds"] > asleep + Settings.model_fields["deadline_seconds"].default


def test_autoscaling_watches_the_queue_and_spares_running_jobs(manifests: list[Manifest]) -> None:
    scaled = of_kind(manifests, "ScaledJob")["cuecheck-worker"]["spec"]
    assert not of_kind(manifests, "ScaledObject")
    assert scaled["rollout"]["strategy"] == "gradual"
    assert scaled["scalingStrategy"]["strategy"] == "accurate"
    trigger = scaled["triggers"][0]
    assert trigger["metadata"]["listName"] == f"rq:queue:{_settings(manifests)['CUECHECK_QUEUE']}"
    redis = of_kind(manifests, "Service")["cuecheck-redis"]
    host, port = trigger["metadata"]["address"].split(":")
    assert host == f"{redis['metadata']['name']}.{redis['metadata']['namespace']}.svc.cluster.local"
    assert int(port) == redis["spec"]["ports"][0]["port"]
    url = own_pods(manifests)["ScaledJob/cuecheck-worker"]["spec"]["containers"][0]["env"]
    address = urlsplit(next(variable["value"] for variable in url if variable["name"] == "CUECHECK_REDIS_URL"))
    assert trigger["metadata"]["databaseIndex"] == address.path.removeprefix("/")
    assert trigger["authenticationRef"]["name"] in of_kind(manifests, "TriggerAuthentication")
    template = scaled["jobTargetRef"]["template"]
    assert template["spec"]["containers"][0]["args"] == ["worker", "--burst", "--max-jobs", "1"]
    assert template["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_one_worker_is_always_there(manifests: list[Manifest]) -> None:
    worker = of_kind(manifests, "Deployment")["cuecheck-worker"]["spec"]
    assert worker["replicas"] == 1
    assert "--burst" not in worker["template"]["spec"]["containers"][0]["args"]


def test_config_maps_and_claims_that_pods_name_are_there(manifests: list[Manifest]) -> None:
    maps, claims = of_kind(manifests, "ConfigMap"), of_kind(manifests, "PersistentVolumeClaim")
    for owner, template in pods(manifests):
        for container in template["spec"]["containers"]:
            for source in container.get("envFrom", []):
                assert "secretRef" in source or source["configMapRef"]["name"] in maps, owner
        for volume in template["spec"]["volumes"]:
            assert "configMap" not in volume or volume["configMap"]["name"] in maps, owner
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in claims, owner


def test_all_pods_share_one_store(manifests: list[Manifest]) -> None:
    url = urlsplit(_settings(manifests)["CUECHECK_STORE_URL"])
    for owner, template in own_pods(manifests).items():
        container = template["spec"]["containers"][0]
        if url.scheme == "file":
            assert {"name": "store", "mountPath": url.path} in container["volumeMounts"], owner
        else:
            assert {"secretRef": {"name": "cuecheck-store"}} in container["envFrom"], owner


def test_all_pods_see_the_banks_that_the_service_publishes(manifests: list[Manifest]) -> None:
    folder = _settings(manifests)["CUECHECK_BANKS_DIR"]
    claims = of_kind(manifests, "PersistentVolumeClaim")
    for owner, template in own_pods(manifests).items():
        mounts = template["spec"]["containers"][0]["volumeMounts"]
        (mount,) = (one for one in mounts if one["mountPath"] == folder)
        volume = next(one for one in template["spec"]["volumes"] if one["name"] == mount["name"])
        claim = claims[volume["persistentVolumeClaim"]["claimName"]]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"], owner
        assert mount.get("readOnly", False) is (
            template["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"
        )


def test_everything_is_in_one_namespace(manifests: list[Manifest]) -> None:
    assert {item["metadata"].get("namespace", "cuecheck") for item in manifests} == {"cuecheck"}


def test_gpu_pods_ask_for_a_gpu_and_cpu_pods_do_not(manifests: list[Manifest]) -> None:
    for owner, template in own_pods(manifests).items():
        container = template["spec"]["containers"][0]
        wants_gpu = container["image"].endswith("-cuda")
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is wants_gpu, owner


def test_images_carry_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for overlay, target in (("cpu", "cpu"), ("gpu", "cuda")):
        assert f"newTag: {version}-{target}\n" in (K8S / "overlays" / overlay / "kustomization.yaml").read_text()


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    sources = [(ROOT / "service" / name).read_text() for name in ("metrics.py", "job_metrics.py")]
    exported = {name for source in sources for name in re.findall(r'"(cuecheck_[a-z_]+)"', source)}
    dashboard = json.loads((K8S / "components" / "monitoring" / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name for expression in expressions for name in re.findall(r"cuecheck_[a-z_]+", expression)}
    assert exported == {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked}
