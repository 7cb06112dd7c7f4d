"""Redis gone and back: what needs it says so, what does not goes on, and a running audit ends all the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import httpx

from jobs.redis_server import RedisServer
from service.problems import TYPE_PREFIX
from tests.e2e.commands import Start
from tests.models.conftest import CLASSES
from tests.service.conftest import encoded, picture, upload, wait_for
from tests.service.material import archive, ended, slow_classifier, upload_classifier, upload_dataset


def test_redis_gone_and_back(start: Start, http: httpx.Client, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as redis_server:
        service = start("serve", redis_url=redis_server.url)
        start("worker", redis_url=redis_server.url)
        wait_for(lambda: ready(http), 180, service.printed, service.process)
        request = {
            "classifier": upload_classifier(http, slow_classifier(tmp_path / "slow.onnx", 20_000)).json()["id"],
            "dataset": upload_dataset(http, archive(8, seed=90)),
            "bank": "tiny",
            "batch_size": 4,
        }
        job = http.post("/v1/audits", json=request).raise_for_status().json()["id"]
        wait_for(lambda: http.get(f"/v1/jobs/{job}").json()["done"] > 0, 90)

        redis_server.stop()
        assert not ready(http)
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/v1/jobs", {}),
            ("GET", f"/v1/jobs/{job}", {}),
            ("POST", f"/v1/jobs/{job}/cancel", {}),
            ("POST", "/v1/audits", {"json": request | {"seed": 1}}),
            ("POST", "/v1/audits", {"json": request, "headers": {"Idempotency-Key": "x"}}),
            ("DELETE", f"/v1/datasets/{request['dataset']}", {}),
        ]
        for method, path, arguments in calls:
            answer = http.request(method, path, **arguments)
            assert answer.status_code == 503, (method, path, answer.text)
            assert answer.json()["type"] == TYPE_PREFIX + "unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        assert http.get(f"/v1/datasets/{request['dataset']}").status_code == 200
        assert http.post("/v1/masks", files=upload(encoded(picture()))).status_code == 200

        redis_server.start()
        wait_for(lambda: ready(http), 30)
        record = ended(http, job)
        assert record["state"] == "succeeded", record
        assert record["done"] == record["total"] == 8 * len(CLASSES)
        assert http.post("/v1/audits", json=request).json()["id"] == job


def ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
