"""The last step of an audit of 10 million rows, in a process of its own: how long it takes and how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs import rows
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import RanOn
from jobs.index import ROW_GROUP
from jobs.publication import publish
from jobs.settings import Settings
from jobs.shards import ShardPlan, plan_shards
from jobs.spurious_activations import COLUMN
from jobs.store import Store
from jobs.subjects import find_bank, load_backbone
from tests.bench.audits import prepare_audit
from tests.bench.harness import Ratio

ROWS = 10_000_000
SECONDS, GIBIBYTES = 60, 2

MEASUREMENTS: dict[str, dict[str, Any]] = {
    "class-leaks": {},
    "cue-swaps": {},
    "natural-pictures": {},
    "region-noise": {},
}
"""Those whose columns the tables have: what audits that do not choose measure."""

OF_PICTURE = (
    rows.CLEAN,
    rows.SPURIOUS,
    rows.SPURIOUS_CONTROL,
    rows.CORE,
    rows.CORE_CONTROL,
    rows.OUTSIDE_CORE,
    rows.SWAP_SAME,
    rows.SWAP_OTHER,
)


def measure(folder: Path, wanted: int = ROWS) -> list[Ratio]:
    """Seconds and peak memory of the reduction of about this many rows to `report.json` and `report.html`."""
    settings = Settings(
        data_dir=folder / "reduction",
        banks_dir=folder / "banks",
        threads=os.cpu_count(),
        classifier_dry_run_seconds=300,
    )
    prepare(folder, settings, wanted)
    command = [sys.executable, "-m", "tests.bench.reduction"]
    found = json.loads(subprocess.check_output(command, env={**os.environ, **settings.environment()}))
    detail = {**found, "load": [round(load, 1) for load in os.getloadavg()]}
    return [
        Ratio("reduction of 10 million rows, of a minute", found["seconds"] / SECONDS, "<= 1.0", detail),
        Ratio("its peak memory, of 2 GiB", found["peak_mib"] / 1024 / GIBIBYTES, "<= 1.0", detail),
    ]


def prepare(folder: Path, settings: Settings, wanted: int) -> None:
    """Leave an audit whose shards are all done, of photographs that stand in the index many times."""
    asked, store = prepare_audit(folder, settings)
    bank = find_bank(settings, asked.bank)
    load_backbone(bank, settings)  # the shards would have left its export in the cache
    request = AuditRequest(
        classifier=asked.classifier, dataset=asked.dataset, bank=bank.digest, measurements=MEASUREMENTS
    )
    channels = np.array([[own.feature_index for own in bank.features(c)] for c in bank.labelled_classes])
    pictures = wanted // (len(OF_PICTURE) + 2 * channels.shape[1])
    _lengthen(store, asked.dataset, pictures)
    plan = plan_shards("reduced", pictures, None, settings.shard_pictures, request.seed)
    spurious = len(bank.spurious(0))
    for shard in range(plan.shards):
        table = shard_table(np.array(plan.positions(shard)), channels, spurious)
        store.write_bytes(plan.file("audits", shard), rows.to_parquet(table))
    store.write_bytes("reduced.json", json.dumps([request.model_dump(), plan.model_dump()]).encode())


def shard_table(row: NDArray[np.int64], channels: NDArray[np.int64], spurious: int) -> pa.Table:
    """What a shard leaves behind of pictures that show all features of their class; outcomes are coins.

    Args:
        row: of the pictures; the classes take turns, which is the order that costs most.
        channels: int64 [C, K], the features of each class by rank.
        spurious: how many of them are, the last.
    """
    generator = np.random.default_rng(int(row[0]))
    classes, features = channels.shape
    variants = np.array([*OF_PICTURE, *[rows.FEATURE] * features, *[rows.FEATURE_CONTROL] * features], dtype=object)
    shape = len(row), len(variants)
    class_index = row % classes
    known = np.isin(variants, (rows.FEATURE, rows.FEATURE_CONTROL))
    swapped = np.isin(variants, (rows.SWAP_SAME, rows.SWAP_OTHER))
    log_odds = (generator.normal(0.5, 2, (len(row), 1)) + generator.normal(0, 1, shape)).astype(np.float32)
    log_odds[:, variants == rows.SPURIOUS] -= 1
    own = np.concatenate([np.zeros((classes, len(OF_PICTURE)), np.int64), channels, channels], axis=1)[class_index]
    names = np.array([f"n{index:08d}/{place}.JPEG" for index, place in zip(class_index, row, strict=True)], object)
    table = rows.rows(
        {
            "sample": names.repeat(shape[1]),
            "row": row.repeat(shape[1]),
            "class": class_index.repeat(shape[1]),
            "variant": np.tile(variants, len(row)),
            "feature": np.ma.array(own, mask=np.broadcast_to(~known, shape)).ravel(),
            "predicted": np.where(log_odds > 0, class_index[:, None], generator.integers(classes, size=shape)).ravel(),
            "correct": (log_odds > 0).ravel(),
            "probability": (0.5 * (1 + np.tanh(log_odds / 2))).ravel(),
            "log_odds": log_odds.ravel(),
            "energy": generator.random(shape, np.float32).ravel(),
            "overlap": np.ma.array(
                generator.random(shape, np.float32), mask=np.broadcast_to(variants == rows.CLEAN, shape)
            ).ravel(),
            "donor": np.ma.array(
                generator.integers(row[-1] + 1, size=shape), mask=np.broadcast_to(~swapped, shape)
            ).ravel(),
            "activation": np.ma.array(generator.random(shape, np.float32), mask=np.broadcast_to(~known, shape)).ravel(),
        }
    )
    ends = np.where(np.tile(variants == rows.CLEAN, len(row)), spurious, 0).cumsum()
    activations = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]).astype(np.int32)),
        pa.array(generator.random(len(row) * spurious, np.float32)),
        mask=pa.array(np.tile(variants != rows.CLEAN, len(row))),
    )
    ran_on = RanOn(device="cpu", backbone="torch-cpu", precision="fp32", classifier="CPUExecutionProvider")
    table = table.append_column(COLUMN, activations)
    return table.replace_schema_metadata({rows.RAN_ON: ran_on.model_dump_json()})


def _lengthen(store: Store, dataset: str, pictures: int) -> None:
    """Let every picture stand in the index many times, the classes taking turns."""
    name = f"datasets/{dataset}/index.parquet"
    with store.open(name) as file:
        index = pq.read_table(file)
    places = np.arange(pictures) % index.num_rows
    with store.scratch_file() as path:
        pq.write_table(index.take(pa.array(places)), path, compression="zstd", row_group_size=ROW_GROUP)
        store.write_file(name, path)


def main() -> None:
    """Reduce what `prepare` left where the settings say, and tell what that took, as JSON."""
    settings = Settings()
    store = Store.from_settings(settings)
    request, plan = json.loads(store.read_bytes("reduced.json"))
    start = time.perf_counter()
    publish(store, settings, AuditRequest.model_validate(request), ShardPlan.model_validate(plan), "bench")
    seconds = time.perf_counter() - start
    json.dump({"seconds": round(seconds, 2), "peak_mib": round(_peak_mib(), 1), "shards": plan["shards"]}, sys.stdout)


def _peak_mib() -> float:
    """Of this process since it is this program: `getrusage` counts what it was forked from as well."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
