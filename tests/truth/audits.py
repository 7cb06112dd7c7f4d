"""Every measure of an audit against classifiers whose true reliance is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Own, Subjects, scope_of
from jobs.class_map import map_classes
from jobs.counts import Counts
from jobs.datasets import Pictures, Sample
from jobs.measurements import measurements
from jobs.reduction import find
from jobs.sections import Section
from models.backbone import Backbone, Features
from models.bank import Bank
from models.bank_folders import find_banks
from models.classifiers import Classifier, open_classifier
from models.classifiers.linear_head import HeadError
from models.classifiers.spec import ClassifierSpec
from models.planted.scenes import CLASSES, draw_scenes
from models.training.progress import progress
from models.training.recipes import PLANTED_TEST_RATES
from models.training.reliance import Interventions, measure_reliance
from tests.truth.cue_pictures import audited, drawn, spurious_only
from tests.truth.members import Member, note_findings, note_section
from tests.truth.outcomes import Outcomes
from tests.truth.panel import make_panel

SEED, JUDGING_SEED, SECOND_SEED = 79, 80, 81
"""Of the audited pictures, of those that true reliance is measured on and of those with the cue alone: met nowhere
else."""

JUDGED = 600

ASKED: dict[str, dict[str, Any]] = {
    "noise-sweep": {"draws": 1},
    "natural-pictures": {"bins": 4},
    "spurious-only": {"dataset": "0" * 64},
}
"""Parameters that differ from the usual ones: bins hold pictures enough for a figure, and a second data set is named,
which is handed over and never looked up."""

WITHOUT = frozenset({"artefacts"})
"""Looks at other cues; it has a panel of its own."""


def measure_panel(folder: Path, per_class: int) -> list[Member]:
    """Audit every classifier of the panel with every measurement that can tell reliance on the bank's cues.

    Args:
        folder: of the panel; its networks and the outcomes are kept in it.
        per_class: pictures of each class with spurious features in the bank.
    """
    panel = make_panel(folder)
    outcomes = Outcomes(folder / "outcomes")
    bank = Bank.load(find_banks()["planted"])
    wanted = {name: ASKED.get(name, {}) for name in measurements() if name not in WITHOUT}
    request = AuditRequest(classifier="panel", dataset="planted", measurements=wanted)
    of = {"bank": bank.digest, "request": request.model_dump(mode="json"), "pictures": per_class}
    judge = cache(partial(_Judge, bank, request, per_class))
    members = []
    with progress("auditing the panel", len(panel)) as advance:
        for name, (path, spec) in panel.items():
            declared = {"spec": spec.model_dump(mode="json")}
            make = partial(_audited, judge, name, path, spec)
            members.append(Member(**outcomes.once(name, of | declared, {"classifier": path}, make)))
            advance(name)
    return sorted(members, key=lambda own: own.reliance)


def _audited(judge: Callable[[], _Judge], name: str, path: Path, spec: ClassifierSpec) -> dict[str, Any]:
    return asdict(judge().member(name, path, spec))


class _Judge:
    """Audits classifiers one by one on the same pictures, and measures what is true of them."""

    def __init__(self, bank: Bank, request: AuditRequest, per_class: int) -> None:
        """Draw all pictures."""
        self._bank, self._request = bank, request
        self._known = [name for name in CLASSES if bank.spurious(bank.class_index(name))]
        self._interventions = Interventions.of(draw_scenes(JUDGED, JUDGING_SEED, PLANTED_TEST_RATES))
        self._samples = drawn(audited(self._known, per_class, SEED))
        self._second = drawn(spurious_only(SECOND_SEED))
        self._backbone = remembering(bank.backbone(threads=1))

    def member(self, name: str, path: Path, spec: ClassifierSpec) -> Member:
        """One classifier."""
        classifier, own = _opened(path, spec)
        by_class = measure_reliance(classifier, self._interventions)["by_class"]
        member = Member(name, {known: by_class[known]["reliance"] for known in self._known})
        table, sections = audit(
            classifier,
            spec,
            self._bank,
            self._backbone,
            self._samples,
            CLASSES,
            self._request,
            own,
            self._second,
        )
        note_findings(member, find(Counts.of(self._bank, [table]), self._bank, self._request.seed))
        for section in sections:
            note_section(member, section)
        return member


def _opened(path: Path, spec: ClassifierSpec) -> tuple[Classifier, Own | str]:
    """A classifier, and its own features or why it has none."""
    try:
        classifier = open_classifier(path, spec, features=True)
    except HeadError as error:
        return open_classifier(path, spec), str(error)
    assert classifier.head is not None
    return classifier, Own(classifier.look, classifier.head)


def remembering(backbone: Backbone) -> Backbone:
    """All members are shown the same pictures, so the backbone sees them for the first only."""
    forward, seen = backbone.forward, dict[bytes, Features]()

    def once(pictures: Tensor) -> Features:
        key = pictures.numpy().tobytes()
        if key not in seen:
            seen[key] = forward(pictures)
        return seen[key]

    backbone.forward = once  # type: ignore[method-assign]
    return backbone


def audit(
    classifier: Classifier,
    spec: ClassifierSpec,
    bank: Bank,
    backbone: Backbone,
    samples: Sequence[Sample],
    names: Sequence[str],
    request: AuditRequest,
    own: Own | str | None = None,
    second: Iterable[Sample] = (),
) -> tuple[pa.Table, list[Section]]:
    """The rows of an audit in one shard, and the sections of its measurements.

    Args:
        names: those of the labels, also of `second`.
        own: the classifier's own features or why it has none, for measurements that look at them.
        second: pictures of the second data set that a measurement of the request asks for.
    """
    classes = map_classes(bank, names, spec.classes)
    labels = np.array([sample.label for sample in samples], dtype=np.int32)
    pictures = Pictures(labels, lambda rows: iter([samples[row] for row in rows]))
    further = dict.fromkeys(request.further(), classes)
    subjects = Subjects(
        bank, backbone, classifier.forward, spec.preprocessing, classes, pictures, classifier.provider, further, own
    )
    table = audit_shard(samples, subjects, request, 10**6, lambda done: None, dict.fromkeys(further, second))
    scope = scope_of(bank, classes, pictures, request.seed)
    sections = []
    for measurement, asked in request.chosen():
        if (tally := measurement.tally(scope, asked)) is not None:
            tally.add(table)
            while tally.again():
                tally.add(table)
            sections.append(tally.section())
    return table, sections
