"""The manifests as a cluster would get them: rendered once for each way to install."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

Manifest = dict[str, Any]

K8S = ROOT / "k8s"
INSTALLATIONS = ("cpu", "gpu", "bucket")
"""The two overlays, and the base with its store in a bucket as docs/deployment.md describes it."""

BUCKET_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{k8s}/base]
components: [{k8s}/components/store-bucket]
"""


@pytest.fixture(scope="session", params=INSTALLATIONS)
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Every object of one installation."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed, so nothing can render the manifests")
    overlay = K8S / "overlays" / request.param
    if request.param == "bucket":
        overlay = tmp_path_factory.mktemp("bucket")
        kustomization = BUCKET_OVERLAY.format(k8s=os.path.relpath(K8S, overlay))
        (overlay / "kustomization.yaml").write_text(kustomization)
    rendered = subprocess.run([kubectl, "kustomize", str(overlay)], capture_output=True, text=True, timeout=60)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """The objects of one kind, by name."""
    return {item["metadata"]["name"]: item for item in manifests if item["kind"] == kind}


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod template, as (kind/name of its owner, template)."""
    for item in manifests:
        owner = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "StatefulSet"):
            yield owner, item["spec"]["template"]
        elif item["kind"] == "ScaledJob":
            yield owner, item["spec"]["jobTargetRef"]["template"]


def own_pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates that run our image (Redis runs its own)."""
    return {
        owner: template
        for owner, template in pods(manifests)
        if template["spec"]["containers"][0]["image"].startswith("cuecheck")
    }


def files_under(folder: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
