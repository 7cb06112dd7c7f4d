"""The end of an export: spuriosity, rankings and the manifest, from the tables that its shards have left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.export_files import ExportFiles
from jobs.export_manifest import (
    MANIFEST,
    RANKINGS,
    SPURIOSITY,
    ExportedClass,
    ExportedShard,
    ExportManifest,
)
from jobs.export_subjects import Choice
from jobs.index import TableWriter
from jobs.mask_files import FILE_FORMATS
from jobs.mask_rows import RAN_ON, by_class
from jobs.spuriosity import Extremes, Ranked, Rankings, merge_extremes, moments_of, ranking, spuriosity
from models.moments import Moments

SPURIOSITIES = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False, metadata={"about": "name of the picture in the data set"}),
        pa.field("row", pa.int64(), nullable=False, metadata={"about": "its position in the data set's index"}),
        pa.field("class_index", pa.int32(), nullable=False, metadata={"about": "class of its label, in the bank"}),
        pa.field("class_name", pa.string(), nullable=False, metadata={"about": "its name"}),
        pa.field(
            "spuriosity",
            pa.float32(),
            nullable=False,
            metadata={"about": "mean z-score over the class's spurious features"},
        ),
    ]
)


def publish(
    files: ExportFiles, choice: Choice, bounds: Mapping[int, Sequence[float]] | None, code_version: str
) -> None:
    """Write the results of an export whose shards are all done, the manifest last.

    Args:
        files: of the job.
        choice: what it is about.
        bounds: by class the smallest activation of the top share, for its labelled features by rank.
        code_version: that made it.
    """
    _rank(files, choice)
    manifest = _manifest(files, choice, bounds, code_version)
    files.store.write_bytes(files.name(MANIFEST), manifest.model_dump_json(indent=1).encode())


def _rank(files: ExportFiles, choice: Choice) -> None:
    """Two passes over the written activations: what is usual for each class, then how far each picture is from it."""
    bank = choice.bank
    spurious = {
        index: [k for k, feature in enumerate(bank.features(index)) if feature.label == "spurious"]
        for index in bank.labelled_classes
        if index in choice.chosen and bank.spurious(index)
    }
    moments = moments_of(
        (index, values[:, spurious[index]])
        for index, values in files.activations("label_index", "of_label")
        if index in spurious
    )
    ends: dict[int, Extremes] = {}
    with files.store.scratch_file() as local:
        with TableWriter(local, SPURIOSITIES) as table:
            for index, further in _scores(files, spurious, moments):
                ends[index] = merge_extremes(ends, index, files.request.ranked, further)
                for one in further:
                    table.append(one.sample, one.row, index, bank.classes[index], one.spuriosity)
        files.store.write_file(files.name(SPURIOSITY), local)
    rankings = Rankings(
        bank=bank.digest,
        dataset=files.request.dataset,
        ranked=files.request.ranked,
        classes=[
            ranking(
                index,
                bank.classes[index],
                [feature.feature_index for feature in bank.spurious(index)],
                moments[index],
                ends[index],
            )
            for index in sorted(ends)
        ],
    )
    files.store.write_bytes(files.name(RANKINGS), rankings.model_dump_json(indent=1).encode())


def _scores(
    files: ExportFiles, spurious: Mapping[int, list[int]], moments: Mapping[int, Moments]
) -> Iterator[tuple[int, list[Ranked]]]:
    """The pictures of each class in each shard, by row."""
    for shard in range(files.shards.shards):
        table = files.read_samples(shard, ["sample", "row", "label_index", "of_label"])
        rows = table["row"].to_numpy()
        for index, places, values in by_class(table, "label_index", "of_label"):
            if index in spurious:
                scores: NDArray[np.float32] = spuriosity(values[:, spurious[index]], moments[index])
                samples = table["sample"].take(pa.array(places)).to_pylist()
                yield (
                    index,
                    [Ranked(*one) for one in zip(scores.tolist(), rows[places].tolist(), samples, strict=True)],
                )


def _manifest(
    files: ExportFiles, choice: Choice, bounds: Mapping[int, Sequence[float]] | None, code_version: str
) -> ExportManifest:
    request, bank = files.request, choice.bank
    skipped: Counter[str] = Counter()
    looked: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    labels: Counter[str] = Counter()
    ran_on: set[str] = set()
    shards: list[ExportedShard] = []
    masked = 0
    for shard, rows in enumerate(files.read_rows(["row", "class_index", "label"])):
        samples = files.read_samples(shard, ["class_index", "reason"])
        reasons = samples["reason"].to_pylist()
        skipped.update(reason for reason in reasons if reason is not None)
        looked.update(
            index for index, reason in zip(samples["class_index"].to_pylist(), reasons, strict=True) if reason is None
        )
        masks.update(rows["class_index"].to_pylist())
        labels.update(rows["label"].to_pylist())
        masked += len(np.unique(rows["row"].to_numpy()))
        with files.store.open(files.samples(shard)) as file:
            ran_on.add((pq.read_schema(file).metadata or {})[RAN_ON].decode())
        shards.append(
            ExportedShard(
                samples=files.below(files.samples(shard)),
                rows=files.below(files.rows(shard)),
                masks=files.below(files.masks(shard)) if rows.num_rows else None,
                count=rows.num_rows,
            )
        )

    def of_class(index: int) -> ExportedClass:
        chosen = choice.features[index]
        ranked = [feature.feature_index for feature in bank.features(index)]
        of_rows = None if bounds is None or index not in bounds else bounds[index]
        return ExportedClass(
            index=index,
            name=bank.classes[index],
            features=[feature.feature_index for feature in chosen],
            bounds=of_rows and [of_rows[ranked.index(feature.feature_index)] for feature in chosen],
            pictures=looked[index],
            masks=masks[index],
        )

    return ExportManifest(
        id=files.shards.job,
        code_version=code_version,
        bank=bank.digest,
        bank_name=bank.name,
        dataset=request.dataset,
        parameters=request.model_dump(mode="json"),
        format=request.format,
        size=request.size,
        threshold=None if FILE_FORMATS[request.format].soft else request.threshold,
        preprocessing=bank.manifest.backbone.preprocessing,
        ran_on=[json.loads(one) for one in sorted(ran_on)],
        pictures=files.shards.pictures,
        masked=masked,
        masks=masks.total(),
        labels={"core": labels["core"], "spurious": labels["spurious"]},
        skipped=dict(sorted(skipped.items())),
        classes=[of_class(index) for index in choice.features if looked[index]],
        shards=shards,
    )
