"""Exports as jobs: the masks of a whole data set, sharded and resumable like audits.

Where the rule is `valid` or `all`, one pass over the pictures writes masks and activations. Where it is `top:<share>`,
the first pass writes activations alone; from them follows how strong a feature must be, and a second pass opens the
pictures that are to get masks and no others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jobs.datasets import get_dataset, read_rows
from jobs.export_files import FOLDER, MASKS, ROWS, SAMPLES, ExportFiles
from jobs.export_manifest import MANIFEST
from jobs.export_publication import publish
from jobs.export_request import ExportRequest
from jobs.export_shard import Source, Written, export_all, export_chosen
from jobs.export_subjects import Choice, choose
from jobs.kinds import Kind, Work
from jobs.mask_files import FILE_FORMATS, MaskFile
from jobs.mask_rows import by_class, mask_table, sample_table, to_parquet
from jobs.progress import progress_of
from jobs.settings import Settings
from jobs.shards import plan_shards
from jobs.store import Store, store_error
from jobs.subjects import load_backbone
from jobs.top_share import thresholds
from models.backbone import Backbone
from models.bank import Feature

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

BOUNDS = "bounds.json"


class Bounds(BaseModel):
    """`bounds.json`, between the two passes of a top share."""

    model_config = ConfigDict(frozen=True)

    bounds: dict[int, list[float]] = Field(description="By class, for its labelled features by rank.")
    pictures: list[int] = Field(description="Pictures of each shard that get masks.")


def check(store: Store, settings: Settings, request: ExportRequest) -> dict[str, str]:
    """Pin the bank by its digest. Raises as `choose`."""
    return {"bank": choose(store, settings, request).bank.digest}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """Cut the data set into shards, by the request alone: the settings of an installation change no byte."""
    store, request = queue.store, _request(inputs)
    name = f"{FOLDER}/{job}/plan.json"
    if not store.exists(name):
        samples = get_dataset(store, request.dataset).pictures
        fresh = plan_shards(job, samples, request.max_pictures, request.pictures_per_shard, request.seed)
        store.write_bytes(name, fresh.model_dump_json(indent=1).encode())
    return _work(ExportFiles.open(store, job, request))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Do one shard of either pass, unless its files are there."""
    files = ExportFiles.open(queue.store, job, _request(inputs))
    report = progress_of(queue.ledger, job, shard)
    if shard < files.shards.shards:
        if not queue.store.exists(files.samples(shard)):
            _first(queue, files, shard, report)
    elif not queue.store.exists(files.rows(shard - files.shards.shards)):
        _second(queue, files, shard - files.shards.shards, report)
    return _work(files).pictures[shard]


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> Work | None:
    """After the first pass of a top share find its bounds; at the end write what is told of the whole."""
    files = ExportFiles.open(queue.store, job, _request(inputs))
    choice = choose(queue.store, queue.settings, files.request)
    share = files.request.share
    if share is not None and not queue.store.exists(files.name(BOUNDS)):
        found = thresholds(lambda: files.activations("class_index", "of_class"), share)
        bounds = {index: values.tolist() for index, values in found.items()}
        counts = [len(_chosen(files, shard, choice, bounds)) for shard in range(files.shards.shards)]
        told = Bounds(bounds=bounds, pictures=counts)
        queue.store.write_bytes(files.name(BOUNDS), told.model_dump_json().encode())
    work = _work(files)
    if len(work.finished) < len(work.pictures):
        return work
    if not queue.store.exists(files.name(MANIFEST)):
        publish(files, choice, None if share is None else _bounds(files).bounds, inputs.code_version)
    return None


KIND = Kind("export", ExportRequest, check, plan, run_shard, reduce, hidden=frozenset({SAMPLES, ROWS, MASKS}))


def _first(queue: JobQueue, files: ExportFiles, shard: int, report: Callable[[int], None]) -> None:
    """Look at all pictures of a shard; the table of its samples, written last, says that all is there."""
    choice = choose(queue.store, queue.settings, files.request)
    with _source(queue, files, choice, files.shards.rows_of(shard), report) as source:
        if files.request.share is None:
            written = _write_masks(files, shard, lambda file, name: export_all(source, files.request, file, name))
        else:
            written = export_all(source, files.request, None, "")
        table = sample_table(written.samples, _ran_on(source.backbone))
    queue.store.write_bytes(files.samples(shard), to_parquet(table))


def _second(queue: JobQueue, files: ExportFiles, shard: int, report: Callable[[int], None]) -> None:
    """Open the pictures of a shard that the bounds have chosen; the table of its masks says that all is there."""
    choice = choose(queue.store, queue.settings, files.request)
    chosen = _chosen(files, shard, choice, _bounds(files).bounds)
    with _source(queue, files, choice, sorted(chosen), report) as source:
        _write_masks(files, shard, lambda file, name: export_chosen(source, files.request, chosen, file, name))


@contextmanager
def _source(
    queue: JobQueue, files: ExportFiles, choice: Choice, rows: Sequence[int], report: Callable[[int], None]
) -> Iterator[Source]:
    """What a shard is made with: the samples of some rows, the bank's network, and threads that end with the block."""
    settings, dataset = queue.settings, files.request.dataset
    first = next(iter(read_rows(queue.store, dataset, [0])))
    with ThreadPoolExecutor(settings.threads or os.cpu_count()) as threads:
        yield Source(
            samples=read_rows(queue.store, dataset, rows),
            choice=choice,
            backbone=load_backbone(choice.bank, settings),
            usual=PurePosixPath(first.sample).suffix,
            max_pixels=settings.max_pixels,
            threads=threads,
            progress=report,
        )


def _write_masks(files: ExportFiles, shard: int, make: Callable[[MaskFile, str], Written]) -> Written:
    """The file of a shard's masks, if there are any, then the table of them; neither is ever there in part."""
    name = files.masks(shard)
    with files.store.scratch_file() as local:
        try:
            with FILE_FORMATS[files.request.format].open(local, files.request.threshold) as file:
                written = make(file, files.below(name))
        except OSError as error:
            raise store_error(error, name) from error
        if written.masks:
            files.store.write_file(name, local)
    files.store.write_bytes(files.rows(shard), to_parquet(mask_table(written.masks)))
    return written


def _chosen(
    files: ExportFiles, shard: int, choice: Choice, bounds: Mapping[int, Sequence[float]]
) -> dict[int, list[tuple[Feature, float]]]:
    """By row the features that are strong enough on it, by rank, and their activations; never a silent channel."""
    table = files.read_samples(shard, ["row", "class_index", "of_class"])
    rows = table["row"].to_numpy()
    found: dict[int, list[tuple[Feature, float]]] = {}
    for index, places, values in by_class(table, "class_index", "of_class"):
        wanted = {feature.feature_index for feature in choice.features.get(index, ())}
        for k, feature in enumerate(choice.bank.features(index)):
            if feature.feature_index in wanted:
                strong = values[:, k] >= np.float32(bounds[index][k])
                if feature.component is None:
                    strong &= values[:, k] > 0
                for at in np.flatnonzero(strong):
                    found.setdefault(int(rows[places[at]]), []).append((feature, float(values[at, k])))
    return found


def _work(files: ExportFiles) -> Work:
    """The shards of the first pass, and those of the second once it is known what it has to do."""
    numbers = range(files.shards.shards)
    pictures = [len(files.shards.positions(shard)) for shard in numbers]
    looked = files.there(SAMPLES)
    finished = {shard for shard in numbers if files.samples(shard) in looked}
    if files.request.share is not None and files.store.exists(files.name(BOUNDS)):
        written = files.there(ROWS)
        finished |= {files.shards.shards + shard for shard in numbers if files.rows(shard) in written}
        pictures += _bounds(files).pictures
    return Work(pictures, frozenset(finished))


def _bounds(files: ExportFiles) -> Bounds:
    return Bounds.model_validate_json(files.store.read_bytes(files.name(BOUNDS)))


def _request(inputs: JobInputs) -> ExportRequest:
    return ExportRequest.model_validate(inputs.pinned())


def _ran_on(backbone: Backbone) -> str:
    return json.dumps(
        {"device": str(backbone.device), "backbone": backbone.provider, "precision": backbone.precision}, sort_keys=True
    )
