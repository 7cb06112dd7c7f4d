"""What audits are timed on: ResNet-50s on photographs, and the small planted networks, where overheads show."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image

from jobs.archives import ArchiveLimits
from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Own, Subjects, scope_of
from jobs.classifiers import get_classifier, import_classifier
from jobs.datasets import import_archive, read_rows
from jobs.measurements import measurements
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import open_subjects
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import render
from models.planted.scenes import CLASSES, draw_scene
from models.runtime import open_session
from models.shipped import shipped_classifiers
from models.training.recipes import PLANTED_TEST_RATES
from tests.bench.audits import PICTURES, prepare_audit

SEED = 7


def complete() -> list[str]:
    """The measurements that need no more than an audit has."""
    return [name for name, own in measurements().items() if own.complete]


@dataclass(frozen=True)
class Ground:
    """Where audits take place.

    Attributes:
        name: for people.
        store, settings: an installation of its own.
        request: its measurements are replaced.
        pictures: the first of the data set.
    """

    name: str
    store: Store
    settings: Settings
    request: AuditRequest
    pictures: int

    @contextmanager
    def audit_of(self, names: Collection[str]) -> Iterator[Audit]:
        """An audit that makes these measurements as they usually are."""
        parameters = {name: measurements()[name].parameters().model_dump(mode="json") for name in sorted(names)}
        request = self.request.model_copy(update={"measurements": parameters})
        with open_subjects(self.store, self.settings, request) as subjects:
            yield Audit(self, request, subjects)


class Audit:
    """One audit of a ground's pictures, which can be run as often as one likes."""

    def __init__(self, ground: Ground, request: AuditRequest, subjects: Subjects) -> None:
        self._ground, self._request = ground, request
        self._subjects = replace(subjects, predict=self._counted(subjects.predict), own=self._own(subjects.own))
        self.forwards = 0

    def run(self) -> pa.Table:
        """One shard, as a worker runs it; `forwards` says how many pictures the classifier was shown."""
        self.forwards = 0
        samples = read_rows(self._ground.store, self._request.dataset, range(self._ground.pictures))
        return audit_shard(samples, self._subjects, self._request, self._ground.settings.max_pixels, lambda done: None)

    def run_and_sum_up(self) -> None:
        """The same, and the sections of its measurements."""
        table, subjects = self.run(), self._subjects
        scope = scope_of(subjects.bank, subjects.classes, subjects.pictures, self._request.seed)
        for own, asked in self._request.chosen():
            tally = own.tally(scope, asked)
            if tally is not None:
                tally.add(table)
                while tally.again():
                    tally.add(table)
                tally.section()

    @contextmanager
    def bare(self) -> Iterator[Callable[[], None]]:
        """As many forwards of both networks as the last run had, nothing else, in full batches, in this process."""
        ground, together = self._ground, self._request.batch_size
        sides = self._subjects.backbone.preprocessing.size, self._subjects.preprocessing.size
        pixels = torch.zeros(together, 3, sides[0], sides[0], dtype=torch.uint8)
        values = np.zeros((together, 3, sides[1], sides[1]), np.float32)
        classifier = get_classifier(ground.store, self._request.classifier)
        with ground.store.local_copy(f"blobs/{classifier.blob}") as path:
            session = open_session(path, threads=ground.settings.threads)

            def forwards() -> None:
                for size in _batches(ground.pictures, together):
                    self._subjects.backbone.forward(pixels[:size])
                for size in _batches(self.forwards, together):
                    session.run(None, {session.get_inputs()[0].name: values[:size]})

            yield forwards

    def _counted(self, predict: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Callable[..., Any]:
        def counted(batch: NDArray[np.float32]) -> Any:
            self.forwards += len(batch)
            return predict(batch)

        return counted

    def _own(self, own: Own | str | None) -> Own | str | None:
        return Own(self._counted(own.look), own.head) if isinstance(own, Own) else own


def resnet50(folder: Path) -> Ground:
    """ResNet-50 as backbone and as classifier, of photographs."""
    settings = _settings(folder / "resnet50", None, banks_dir=folder / "banks")
    request, store = prepare_audit(folder, settings)
    return Ground("ResNet-50", store, settings, request, PICTURES)


def planted(folder: Path, per_class: int, threads: int | None = None) -> Ground:
    """The planted bank and a shipped classifier, of freshly drawn planted pictures, the classes one by one."""
    settings = _settings(folder / "planted", threads)
    store = Store.from_settings(settings)
    shipped = shipped_classifiers()["planted-3"]
    with store.scratch_file() as copy:
        shutil.copyfile(shipped.model, copy)
        spec = ClassifierSpec.model_validate_json(shipped.spec.read_bytes())
        classifier = import_classifier(store, copy, spec, settings)
    with store.scratch_file() as path:
        with zipfile.ZipFile(path, "w") as pictures:
            for name in CLASSES:
                for index in range(per_class):
                    stream = io.BytesIO()
                    scene = draw_scene(name, SEED, index, PLANTED_TEST_RATES)
                    Image.fromarray(render(scene).image).save(stream, "JPEG", quality=92)
                    pictures.writestr(f"{name}/{index}.jpg", stream.getvalue())
        dataset = import_archive(store, path, ArchiveLimits.from_settings(settings), "planted")
    request = AuditRequest(classifier=classifier.id, dataset=dataset.id, bank="planted")
    return Ground("planted", store, settings, request, dataset.pictures)


def _settings(folder: Path, threads: int | None, **further: Any) -> Settings:
    return Settings(data_dir=folder, threads=threads or os.cpu_count(), classifier_dry_run_seconds=300, **further)


def _batches(count: int, together: int) -> Iterator[int]:
    yield from [together] * (count // together)
    if count % together:
        yield count % together
