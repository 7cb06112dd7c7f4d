"""Every manifest is what its schema says, down to unknown fields, without asking a cluster."""

from __future__ import annotations

from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.packing.conftest import Manifest, of_kind

VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest Kubernetes we support, and the newest whose schemas are at hand."""


def _strict(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_LABELS = {"type": "object", "additionalProperties": _TEXT}

# The part of each custom resource that we use; the field names are those of KEDA 2.12+ and Prometheus operator 0.49+.
CUSTOM_SPECS: dict[str, dict[str, Any]] = {
    "keda.sh/v1alpha1/TriggerAuthentication": _strict(
        {
            "secretTargetRef": {
                "type": "array",
                "items": _strict({"parameter": _TEXT, "name": _TEXT, "key": _TEXT}, "parameter", "name", "key"),
            }
        },
        "secretTargetRef",
    ),
    "keda.sh/v1alpha1/ScaledJob": _strict(
        {
            "jobTargetRef": {"type": "object"},
            "pollingInterval": _COUNT,
            "minReplicaCount": _COUNT,
            "maxReplicaCount": _COUNT,
            "successfulJobsHistoryLimit": _COUNT,
            "failedJobsHistoryLimit": _COUNT,
            "rollout": _strict({"strategy": {"enum": ["default", "gradual"]}}, "strategy"),
            "scalingStrategy": _strict({"strategy": {"enum": ["default", "accurate", "eager"]}}, "strategy"),
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": _strict(
                    {
                        "type": {"const": "redis"},
                        "metadata": _strict(
                            {"address": _TEXT, "databaseIndex": _TEXT, "listName": _TEXT, "listLength": _TEXT},
                            "address",
                            "listName",
                            "listLength",
                        ),
                        "authenticationRef": _strict({"name": _TEXT}, "name"),
                    },
                    "type",
                    "metadata",
                    "authenticationRef",
                ),
            },
        },
        "jobTargetRef",
        "triggers",
    ),
    "monitoring.coreos.com/v1/ServiceMonitor": _strict(
        {
            "selector": _strict({"matchLabels": _LABELS}, "matchLabels"),
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": _strict(
                    {
                        "port": _TEXT,
                        "path": {"type": "string", "pattern": "^/"},
                        "interval": {"type": "string", "pattern": "^[0-9]+s$"},
                        "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+s$"},
                        "authorization": _strict(
                            {"type": {"const": "Bearer"}, "credentials": _strict({"name": _TEXT, "key": _TEXT})},
                            "type",
                            "credentials",
                        ),
                    },
                    "port",
                    "path",
                ),
            },
        },
        "selector",
        "endpoints",
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_its_schema(manifests: list[Manifest], version: str) -> None:
    for item in manifests:
        custom = CUSTOM_SPECS.get(f"{item['apiVersion']}/{item['kind']}")
        if custom is None:
            kubernetes_validate.validate(item, version, strict=True)
        else:
            jsonschema.validate(item["spec"], custom)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_within_a_scaled_job_is_a_job(manifests: list[Manifest], version: str) -> None:
    for name, scaled in of_kind(manifests, "ScaledJob").items():
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": scaled["spec"]["jobTargetRef"],
        }
        kubernetes_validate.validate(job, version, strict=True)


def test_a_misspelt_field_is_noticed(manifests: list[Manifest]) -> None:
    scaled = of_kind(manifests, "ScaledJob")["cuecheck-worker"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(scaled["spec"] | {"maxReplicas": 3}, CUSTOM_SPECS["keda.sh/v1alpha1/ScaledJob"])
    deployment = of_kind(manifests, "Deployment")["cuecheck-api"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            deployment | {"spec": deployment["spec"] | {"replica": 2}}, VERSIONS[-1], strict=True
        )
