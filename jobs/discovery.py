"""Discoveries as jobs: two passes over a data set, sharded and resumable like audits, that end in a draft bank.

The first pass runs every picture once through the encoder (shards of pictures) and keeps sums, the strongest pictures
of every feature, and a bounded sample of features by class. Then the candidates are chosen, and the second pass
(shards of classes) opens the pictures of their panels again and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from jobs.class_statistics import ClassStatistics
from jobs.datasets import get_dataset, read_rows
from jobs.discovery_request import DiscoveryRequest
from jobs.discovery_subjects import Subjects, check_subjects, inspecting, open_subjects
from jobs.draft_class import describe_class
from jobs.kinds import Kind, Work
from jobs.look import look
from jobs.phi_sample import PhiSample, gather, read_sample, thin, write_sample
from jobs.progress import progress_of
from jobs.selection import ChosenClass, Selection, select
from jobs.settings import Settings
from jobs.shards import ShardPlan, plan_shards
from jobs.store import Store
from models.bank import COMPONENTS
from models.components import Components
from models.draft import Draft, DraftClass, DraftSummary

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

CLASSES_PER_SHARD = 8
"""Of the second pass: a shard reads the samples of its classes out of every shard of the first. With components it is
one: the prototypes of a class alone are some 25,000 forward and backward passes."""


def check(store: Store, settings: Settings, request: DiscoveryRequest) -> dict[str, str]:
    """Pin a bank's backbone by the bank's digest. Raises NotFound or Invalid as `check_subjects`."""
    return {"encoder": check_subjects(store, settings, request)}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """Cut the first pass into shards, and the second too where a former run got so far."""
    store, request = queue.store, _request(inputs)
    name = f"discoveries/{job}/plan.json"
    if not store.exists(name):
        samples = get_dataset(store, request.dataset).pictures
        fresh = plan_shards(job, samples, request.max_pictures, queue.settings.shard_pictures, request.seed)
        store.write_bytes(name, fresh.model_dump_json(indent=1).encode())
    shards = read_plan(store, job)
    if store.exists(f"discoveries/{job}/selection.json"):
        return _whole_work(store, job, shards, request)
    return Work(_first_pass(shards), _looked_at(store, job, shards))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Do one shard of either pass, unless its files are there."""
    shards, request = read_plan(queue.store, job), _request(inputs)
    if shard < shards.shards:
        if shard not in _looked_at(queue.store, job, shards):
            _look(queue, job, shard, shards, request)
        return len(shards.positions(shard))
    classes = _cut(_selection(queue.store, job).classes, request)[shard - shards.shards]
    missing = [chosen for chosen in classes if not queue.store.exists(_class_file(job, chosen.index))]
    if missing:
        _describe(queue, job, shard, missing, request)
    return sum(_pictures_of(chosen, request) for chosen in classes)


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> Work | None:
    """After the first pass choose the candidates; after the second write the draft."""
    store, request = queue.store, _request(inputs)
    shards = read_plan(store, job)
    name = f"discoveries/{job}/selection.json"
    if not store.exists(name):
        statistics = ClassStatistics()
        for shard in range(shards.shards):
            statistics.add(ClassStatistics.from_bytes(store.read_bytes(_statistics(shards, shard))))
        subjects = open_subjects(store, queue.settings, request)
        head = subjects.backbone.weight.cpu().numpy()
        chosen = select(statistics, head, subjects.classes, request.channels, subjects.channels_again())
        store.write_bytes(name, chosen.model_dump_json(indent=1).encode())
    work = _whole_work(store, job, shards, request)
    if len(work.finished) < len(work.pictures):
        return work
    if not store.exists(f"discoveries/{job}/draft.json"):
        _publish(queue, job, inputs, request)
    return None


KIND = Kind(
    "discovery",
    DiscoveryRequest,
    check,
    plan,
    run_shard,
    reduce,
    hidden=frozenset({"classes", "panels", "strips", "directions"}),
)


def _look(queue: JobQueue, job: str, shard: int, shards: ShardPlan, request: DiscoveryRequest) -> None:
    """One shard of the first pass: its sample first, then its statistics, which say that both are there."""
    store = queue.store
    subjects = open_subjects(store, queue.settings, request)
    with inspecting(subjects, request) as inspected:
        seen = look(
            read_rows(store, request.dataset, shards.rows_of(shard)),
            subjects.backbone,
            subjects.of_label,
            request.grouping,
            request.batch_size,
            queue.settings.max_pixels,
            inspected,
            progress_of(queue.ledger, job, shard),
            subjects.classes,
        )
    kept = thin(seen.sample, request.seed, subjects.class_sizes)
    sink = pa.BufferOutputStream()
    write_sample(kept, sink)
    store.write_bytes(_sample(shards, shard), sink.getvalue().to_pybytes())
    statistics = ClassStatistics.of(seen, request.exemplars, subjects.ran_on())
    store.write_bytes(_statistics(shards, shard), statistics.to_bytes())


def _describe(queue: JobQueue, job: str, shard: int, classes: Sequence[ChosenClass], request: DiscoveryRequest) -> None:
    """Some classes of one shard of the second pass: of each its pictures first, then what says that they are there."""
    store, selection = queue.store, _selection(queue.store, job)
    subjects = open_subjects(store, queue.settings, request)
    samples = class_samples(store, read_plan(store, job), [chosen.index for chosen in classes], subjects, request.seed)
    report = progress_of(queue.ledger, job, shard)
    done = 0

    for chosen in classes:
        most = _pictures_of(chosen, request)

        def of_class(drawn: int, done: int = done, most: int = most) -> None:
            report(done + min(drawn, most))

        found = describe_class(chosen, selection, samples[chosen.index], subjects, request, of_class)
        for name, content in found.files.items():
            store.write_bytes(f"discoveries/{job}/{name}", content)
        store.write_bytes(_class_file(job, chosen.index), found.described.model_dump_json(indent=1).encode())
        done += most
        report(done)


def class_samples(
    store: Store, shards: ShardPlan, groups: Sequence[int], subjects: Subjects, seed: int
) -> dict[int, PhiSample]:
    """The kept pictures of some classes, out of all shards."""

    def kept() -> Iterator[PhiSample]:
        for shard in range(shards.shards):
            with store.open(_sample(shards, shard)) as file:
                yield from read_sample(file, groups)

    return gather(kept(), groups, subjects.backbone.weight.shape[1], seed, subjects.class_sizes)


def _publish(queue: JobQueue, job: str, inputs: JobInputs, request: DiscoveryRequest) -> None:
    """Write the components of all classes as one file and, last, the draft itself."""
    store, selection = queue.store, _selection(queue.store, job)
    described = [
        DraftClass.model_validate_json(store.read_bytes(_class_file(job, chosen.index))) for chosen in selection.classes
    ]
    subjects = open_subjects(store, queue.settings, request)
    if request.components:
        with store.scratch_file() as local:
            _join_components(store, job, described, request, subjects.spec.backbone.maps[0]).save(local)
            store.write_file(f"discoveries/{job}/components.safetensors", local)
    elif subjects.again is not None and subjects.again.manifest.components:
        content = (subjects.again.path / COMPONENTS).read_bytes()
        store.write_bytes(f"discoveries/{job}/components.safetensors", content)
    draft = Draft(
        id=job,
        code_version=inputs.code_version,
        encoder=subjects.spec,
        encoder_id=subjects.encoder_id,
        weights_digest=subjects.backbone.weights_digest,
        dataset=request.dataset,
        request=request.model_dump(mode="json"),
        grouping=request.grouping,
        pictures=selection.pictures,
        accuracy=round(selection.right / selection.pictures, 4) if selection.pictures else None,
        skipped=selection.skipped,
        ran_on=[json.loads(ran_on) for ran_on in selection.ran_on],
        classes=tuple(
            DraftSummary(index=c.index, name=c.name, group=c.group, candidates=len(c.candidates), note=c.note)
            for c in described
        ),
    )
    store.write_bytes(f"discoveries/{job}/draft.json", draft.model_dump_json(indent=1).encode())


def _join_components(
    store: Store, job: str, described: Sequence[DraftClass], request: DiscoveryRequest, width: int
) -> Components:
    """Row k of the whole is what the candidates call feature D + k; rows nobody uses are zero."""
    rows = (max(c.index for c in described) + 1) * request.components
    whole = Components(torch.zeros(rows, width), torch.zeros(rows))
    for described_class in described:
        if any(candidate.component is not None for candidate in described_class.candidates):
            with store.local_copy(f"discoveries/{job}/directions/{described_class.index}.safetensors") as path:
                own = Components.load(path)
            first = described_class.index * request.components
            whole.directions[first : first + len(own.directions)] = own.directions
            whole.offsets[first : first + len(own.offsets)] = own.offsets
    return whole


def _first_pass(shards: ShardPlan) -> list[int]:
    return [len(shards.positions(shard)) for shard in range(shards.shards)]


def _whole_work(store: Store, job: str, shards: ShardPlan, request: DiscoveryRequest) -> Work:
    groups = _cut(_selection(store, job).classes, request)
    there = set(store.list(f"discoveries/{job}/classes"))
    finished = {
        shards.shards + number
        for number, group in enumerate(groups)
        if all(f"{chosen.index}.json" in there for chosen in group)
    }
    pictures = [sum(_pictures_of(chosen, request) for chosen in group) for group in groups]
    return Work([*_first_pass(shards), *pictures], frozenset({*range(shards.shards), *finished}))


def _cut(classes: Sequence[ChosenClass], request: DiscoveryRequest) -> list[Sequence[ChosenClass]]:
    """The classes of each shard of the second pass."""
    together = 1 if request.components else CLASSES_PER_SHARD
    return [classes[start : start + together] for start in range(0, len(classes), together)]


def _pictures_of(chosen: ChosenClass, request: DiscoveryRequest) -> int:
    """Of the panels of a class, for progress: as many as are asked for, or those of the bank's channels."""
    rows = max(1, len(chosen.channels)) if request.again else request.channels + request.components
    return rows * request.exemplars


def _looked_at(store: Store, job: str, shards: ShardPlan) -> frozenset[int]:
    there = {f"discoveries/{job}/shards/{name}" for name in store.list(f"discoveries/{job}/shards")}
    return frozenset(shard for shard in range(shards.shards) if _statistics(shards, shard) in there)


def read_plan(store: Store, job: str) -> ShardPlan:
    """How a discovery was cut into shards."""
    return ShardPlan.model_validate_json(store.read_bytes(f"discoveries/{job}/plan.json"))


def _selection(store: Store, job: str) -> Selection:
    return Selection.model_validate_json(store.read_bytes(f"discoveries/{job}/selection.json"))


def _request(inputs: JobInputs) -> DiscoveryRequest:
    return DiscoveryRequest.model_validate(inputs.pinned())


def _sample(shards: ShardPlan, shard: int) -> str:
    return shards.file("discoveries", shard)


def _statistics(shards: ShardPlan, shard: int) -> str:
    return shards.file("discoveries", shard, "safetensors")


def _class_file(job: str, index: int) -> str:
    return f"discoveries/{job}/classes/{index}.json"
