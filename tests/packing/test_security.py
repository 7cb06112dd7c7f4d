"""What a pod may do, whom it may reach, and that no secret has a value here."""

from __future__ import annotations

import ipaddress
import re

import yaml

from tests.packing.conftest import K8S, Manifest, files_under, of_kind, own_pods, pods


def test_every_pod_is_restricted(manifests: list[Manifest]) -> None:
    namespace = of_kind(manifests, "Namespace")["cuecheck"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for owner, template in pods(manifests):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, owner
        assert spec["securityContext"]["runAsUser"] > 0, owner
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert spec["automountServiceAccountToken"] is False, owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), owner
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, owner
            assert context["allowPrivilegeEscalation"] is False, owner
            assert context["capabilities"] == {"drop": ["ALL"]}, owner
        for volume in spec["volumes"]:
            assert "hostPath" not in volume, owner


def test_the_account_gets_no_token_and_no_rights(manifests: list[Manifest]) -> None:
    assert of_kind(manifests, "ServiceAccount")["cuecheck"]["automountServiceAccountToken"] is False
    kinds = {item["kind"] for item in manifests}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_every_container_has_requests_and_limits(manifests: list[Manifest]) -> None:
    for owner, template in pods(manifests):
        for container in template["spec"]["containers"]:
            for side in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][side].keys(), owner


def test_what_our_processes_write_lies_on_volumes(manifests: list[Manifest]) -> None:
    for owner, template in own_pods(manifests).items():
        mounts = {mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert {"/data", "/tmp", "/dev/shm"} <= mounts, owner
        for volume in template["spec"]["volumes"]:
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], f"{owner}: {volume['name']}"


def test_secrets_are_named_and_never_given(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    for path in files_under(K8S):
        assert "secretGenerator" not in path.read_text(), path
    secret_name = re.compile("PASSWORD|SECRET|TOKEN|AUTH$|_KEY$")
    for owner, template in pods(manifests):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if secret_name.search(variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], f"{owner}: {variable['name']}"
    settings = next(data for name, data in of_kind(manifests, "ConfigMap").items() if "settings" in name)
    assert not [name for name in settings["data"] if secret_name.search(name) and name != "CUECHECK_AUTH"]


def test_keys_are_asked_for(manifests: list[Manifest]) -> None:
    settings = next(data for name, data in of_kind(manifests, "ConfigMap").items() if "settings" in name)
    assert settings["data"]["CUECHECK_AUTH"] == "on"


def _component(template: Manifest) -> str:
    return str(template["metadata"]["labels"]["app.kubernetes.io/component"])


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    by_value = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    by_set = all(
        labels.get(expression["key"]) in expression["values"] and expression["operator"] == "In"
        for expression in selector.get("matchExpressions", [])
    )
    return by_value and by_set


def _peers(manifests: list[Manifest], labels: dict[str, str], direction: str) -> list[Manifest]:
    """Everyone a pod with `labels` may reach ("to") or be reached by ("from")."""
    side = {"to": "egress", "from": "ingress"}[direction]
    return [
        peer
        for policy in of_kind(manifests, "NetworkPolicy").values()
        if _selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(side, [])
        for peer in rule[direction]
    ]


def test_nothing_is_allowed_unless_written(manifests: list[Manifest]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for side, direction in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(side, []):
                assert rule.get(direction), f"{name}: a rule without {direction!r} is for everyone"
                assert rule.get("ports"), f"{name}: a rule without ports is for every port"


def test_api_and_workers_reach_the_queue_and_nothing_reaches_a_worker(manifests: list[Manifest]) -> None:
    redis = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "redis"}}}
    for owner, template in own_pods(manifests).items():
        labels = template["metadata"]["labels"]
        assert redis in _peers(manifests, labels, "to"), owner
        if _component(template) == "worker":
            assert _peers(manifests, labels, "from") == [], owner
    redis_labels = {"app.kubernetes.io/component": "redis"}
    assert _peers(manifests, redis_labels, "to") == []
    callers = [peer["podSelector"] for peer in _peers(manifests, redis_labels, "from") if len(peer) == 1]
    for component, allowed in (("api", True), ("worker", True), ("redis", False), ("store", False)):
        assert any(_selects(who, {"app.kubernetes.io/component": component}) for who in callers) is allowed


def test_workers_reach_no_address_on_the_internet(manifests: list[Manifest]) -> None:
    for owner, template in own_pods(manifests).items():
        for peer in _peers(manifests, template["metadata"]["labels"], "to"):
            if "ipBlock" in peer:
                assert ipaddress.ip_network(peer["ipBlock"]["cidr"]).is_private, owner
            else:
                assert peer.keys() <= {"podSelector", "namespaceSelector"}, owner
                assert peer.get("namespaceSelector", {"x": 1}), f"{owner}: an empty selector is every namespace"


def test_services_do_not_turn_into_settings(manifests: list[Manifest]) -> None:
    """Kubernetes would set CUECHECK_REDIS_PORT=tcp://... for the Service cuecheck-redis."""
    for owner, template in pods(manifests):
        assert template["spec"]["enableServiceLinks"] is False, owner


def test_no_file_of_the_manifests_is_forgotten() -> None:
    named: set[str] = set()
    for path in K8S.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text())
        named |= {str((path.parent / name).resolve()) for name in content.get("resources", [])}
        named |= {str((path.parent / name).resolve()) for name in content.get("configurations", [])}
        for generator in content.get("configMapGenerator", []):
            sources = generator.get("envs", []) + generator.get("files", [])
            named |= {str((path.parent / source.rpartition("=")[2]).resolve()) for source in sources}
    files = {str(path) for path in files_under(K8S) if path.name != "kustomization.yaml"}
    assert files <= named
