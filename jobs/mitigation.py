"""Mitigations as jobs: look at pictures, change the classifier, audit both, and tell what it brought and cost.

The shards look at what is fitted on and audit the classifier as it is; then the changed one is made, and further shards
audit that. A killed job resumes: a shard's file is the proof that it is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.audit import audit_shard
from jobs.audit_subjects import Own
from jobs.classifiers import import_classifier
from jobs.datasets import read_rows
from jobs.errors import Invalid
from jobs.isolation import IsolatedClassifier
from jobs.kinds import Kind, Work
from jobs.mitigation_files import PARTS, Changed, MitigationFiles
from jobs.mitigation_fit import Fit, fit_spufix, refit_head
from jobs.mitigation_look import look_shard
from jobs.mitigation_publication import REPORT, publish
from jobs.mitigation_request import MitigationRequest
from jobs.mitigation_split import MitigationPlan
from jobs.mitigation_subjects import MitigationSubjects, check, open_names, require_head
from jobs.patching import Patch, patch_file
from jobs.pictures import decode
from jobs.progress import progress_of
from jobs.subjects import open_subjects
from models.classifiers.linear_head import LinearHead
from models.classifiers.spec import ClassifierSpec
from models.geometry import prepare

if TYPE_CHECKING:
    from jobs.queue import JobInputs, JobQueue

LONGEST_LABEL = 200
TRIED_ON = 8
"""Pictures that a network and its export must give the same scores on."""


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """Cut both parts of the pictures into shards, once."""
    files = MitigationFiles(queue.store, job)
    if not queue.store.exists(files.name("plan.json")):
        found = open_names(queue.store, queue.settings, _request(inputs))
        sizes = len(found.fitted_rows), len(found.judged_rows)
        fresh = MitigationPlan.of(*sizes, queue.settings.shard_pictures)
        queue.store.write_bytes(files.name("plan.json"), fresh.model_dump_json().encode())
    return _work(files)


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Look at some pictures, or audit one of the classifiers on some, unless that is done."""
    files, request = MitigationFiles(queue.store, job), _request(inputs)
    part, number = files.shard(shard)
    if not queue.store.exists(files.table(part, number)):
        found = open_names(queue.store, queue.settings, request)
        if part == "look":
            _look(queue, files, found, request, shard)
        else:
            changed = files.changed() if part == "after" else None
            classifier = changed.classifier if changed is not None else request.classifier
            asked = request.audit(classifier)
            rows = files.plan.rows(found.judged_rows, number)
            with open_subjects(queue.store, queue.settings, asked) as subjects:
                samples = read_rows(queue.store, asked.dataset, rows)
                report = progress_of(queue.ledger, job, shard)
                table = audit_shard(samples, subjects, asked, queue.settings.max_pixels, report)
            files.write(part, number, table)
    return _work(files).pictures[shard]


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> Work | None:
    """Make the changed classifier; once that is audited too, write the report."""
    files, request = MitigationFiles(queue.store, job), _request(inputs)
    found = open_names(queue.store, queue.settings, request)
    if files.changed() is None:
        _change(queue, files, found, request)
    work = _work(files)
    if len(work.finished) < len(work.pictures):
        return work
    if not queue.store.exists(files.name(REPORT)):
        publish(files, found, request, inputs.code_version)
    return None


KIND = Kind("mitigation", MitigationRequest, check, plan, run_shard, reduce, hidden=frozenset({*PARTS}))


def _look(
    queue: JobQueue, files: MitigationFiles, found: MitigationSubjects, request: MitigationRequest, shard: int
) -> None:
    asked = request.audit(request.classifier).model_copy(update={"dataset": request.dataset})
    rows = files.plan.rows(found.fitted_rows, shard)
    report, most = progress_of(queue.ledger, files.job, shard), queue.settings.max_pixels
    with open_subjects(queue.store, queue.settings, asked, features=True) as subjects:
        if not isinstance(subjects.own, Own):
            raise Invalid(f"{subjects.own}.", field="classifier")
        samples = read_rows(queue.store, request.dataset, rows)
        table = look_shard(samples, subjects, subjects.own, request.batch_size, most, report)
    files.write("look", shard, table)


def _change(queue: JobQueue, files: MitigationFiles, found: MitigationSubjects, request: MitigationRequest) -> None:
    """Fit, change the file, try the changed one out as if it were uploaded, and keep it."""
    store, settings, record = queue.store, queue.settings, found.classifier
    with store.local_copy(f"blobs/{record.blob}") as path, store.scratch_file() as patched:
        with IsolatedClassifier(path, record.spec, settings, features=True) as isolated:
            head, former = require_head(isolated), isolated.spufix
        fit, spec = _fit(files, head, found, request), _declared(record.spec, request, files.job)
        arrays = dict(fit.arrays)
        if spec.format != record.spec.format:  # it is exported on the way
            arrays["pictures"] = _tried_on(queue, files, found, request)
        notes = {"mitigation": request.method, "made_from": record.id, "bank": found.bank.digest, "job": files.job}
        patch_file(path, record.spec, Patch(request.method, arrays, notes), patched, settings)
        with store.scratch_file() as copy:
            shutil.copyfile(patched, copy)
            store.write_file(files.name(f"patched.{spec.format}"), copy)
        changed = import_classifier(store, patched, spec, settings)
    store.write_bytes(files.name("patched.spec.json"), _json(spec))
    told = Changed(classifier=changed.id, classes=fit.classes, loss=fit.loss, former_spufix=former)
    store.write_bytes(files.name("changed.json"), told.model_dump_json(indent=1).encode())


def _fit(files: MitigationFiles, head: LinearHead, found: MitigationSubjects, request: MitigationRequest) -> Fit:
    def tables() -> Iterator[pa.Table]:
        return files.read("look")

    of_output = found.fitted.of_output
    if request.method == "spufix":
        return fit_spufix(tables, head, of_output, found.changed, found.bank, request.apart)
    return refit_head(tables, head, of_output, found.bank, request)


def _tried_on(
    queue: JobQueue, files: MitigationFiles, found: MitigationSubjects, request: MitigationRequest
) -> NDArray[np.float32]:
    """Pictures for an export to be tried on: some of those that were looked at, from all over the data set."""
    rows = np.concatenate([table["row"].to_numpy() for table in files.read("look")])
    chosen = rows[np.linspace(0, len(rows) - 1, min(TRIED_ON, len(rows))).astype(np.int64)].tolist()
    pictures = []
    for sample in read_rows(queue.store, request.dataset, chosen):
        assert isinstance(sample.content, bytes)  # it was read before
        pixels = decode(sample.content, queue.settings.max_pixels)
        pictures.append(prepare(pixels, found.classifier.spec.preprocessing).float().numpy() / 255)
    return np.stack(pictures)


def _declared(spec: ClassifierSpec, request: MitigationRequest, job: str) -> ClassifierSpec:
    """The declaration of the changed classifier: its version says what was done and by which job."""
    suffix = f"+{request.method}.{job[:12]}"
    if request.method == "spufix" and spec.format != "onnx":
        spec = spec.exported()
    return spec.model_copy(update={"version": spec.version[: LONGEST_LABEL - len(suffix)] + suffix})


def _json(spec: ClassifierSpec) -> bytes:
    return spec.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"


def _work(files: MitigationFiles) -> Work:
    """The shards before the change, and those after it once it is made."""
    plan = files.plan
    pictures = [*plan.fitted, *plan.judged]
    if files.changed() is not None:
        pictures += plan.judged
    there = {files.name(f"{part}/{name}") for part in PARTS for name in files.store.list(files.name(part))}
    done = frozenset(number for number in range(len(pictures)) if files.table(*files.shard(number)) in there)
    return Work(pictures, done)


def _request(inputs: JobInputs) -> MitigationRequest:
    return MitigationRequest.model_validate(inputs.pinned())
