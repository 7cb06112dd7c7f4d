"""Every measure of an audit against classifiers whose true reliance is known."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from torch import Tensor

from jobs.audit import Subjects, audit_shard, scope_of
from jobs.audit_request import AuditRequest
from jobs.class_map import map_classes
from jobs.counts import Counts
from jobs.datasets import Pictures, Sample
from jobs.figures import Figure
from jobs.findings import Findings
from jobs.measurements import measurements
from jobs.measures import CLASS_MEASURES
from jobs.reduction import find
from jobs.sections import Section
from models.backbone import Backbone, Features
from models.bank import Bank
from models.bank_folders import find_banks
from models.classifiers import Classifier, open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import render
from models.planted.scenes import CLASSES, draw_scene, draw_scenes
from models.training.progress import progress
from models.training.recipes import PLANTED_TEST_RATES
from models.training.reliance import Interventions, measure_reliance
from tests.truth.panel import make_panel

SEED, JUDGING_SEED = 79, 80
"""Of the audited pictures, and of those that true reliance is measured on: met nowhere else."""

JUDGED = 600


@dataclass(frozen=True)
class Member:
    """One classifier, what is true of it and what the audit says.

    Attributes:
        name: in the panel.
        truth: class -> accuracy with own cues less accuracy with swapped cues, of classes whose cues the bank knows.
        means: measure -> mean over classes; None where withheld.
        classes: measure -> class -> figure's value.
        flagged: measurement -> classes flagged.
    """

    name: str
    truth: Mapping[str, float]
    means: dict[str, float | None] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    flagged: dict[str, list[str]] = field(default_factory=dict)

    @property
    def reliance(self) -> float:
        """The mean over classes."""
        return float(np.mean(list(self.truth.values())))


WITHOUT = frozenset({"spurious-only", "failure-modes", "own-head", "artefacts"})
"""Measurements left out: they need another data set, tell failures rather than cues, or look at other cues."""


def measure_panel(folder: Path, per_class: int) -> list[Member]:
    """Audit every classifier of the panel with every measurement that can tell reliance on the bank's cues.

    Args:
        folder: of the panel; its networks are kept in it.
        per_class: pictures of each class with spurious features in the bank.
    """
    bank = Bank.load(find_banks()["planted"])
    known = [name for name in CLASSES if bank.spurious(bank.class_index(name))]
    interventions = Interventions.of(draw_scenes(JUDGED, JUDGING_SEED, PLANTED_TEST_RATES))
    samples = _samples(known, per_class)
    backbone = remembering(bank.backbone(threads=1))
    wanted: dict[str, dict[str, Any]] = {name: {} for name in measurements() if name not in WITHOUT}
    wanted["noise-sweep"] = {"draws": 1}
    request = AuditRequest(classifier="panel", dataset="planted", measurements=wanted)
    members = []
    panel = make_panel(folder)
    with progress("auditing the panel", len(panel)) as advance:
        for name, (path, spec) in panel.items():
            classifier = open_classifier(path, spec)
            by_class = measure_reliance(classifier, interventions)["by_class"]
            member = Member(name, {known_class: by_class[known_class]["reliance"] for known_class in known})
            _audit(member, classifier, spec, bank, backbone, samples, request)
            members.append(member)
            advance()
    return sorted(members, key=lambda own: own.reliance)


def _samples(classes: Sequence[str], per_class: int) -> list[Sample]:
    found: list[Sample] = []
    for name in classes:
        for index in range(per_class):
            stream = io.BytesIO()
            Image.fromarray(render(draw_scene(name, SEED, index, PLANTED_TEST_RATES)).image).save(stream, "BMP")
            found.append(Sample(len(found), f"{name}/{index}", CLASSES.index(name), stream.getvalue()))
    return found


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


def _audit(
    member: Member,
    classifier: Classifier,
    spec: ClassifierSpec,
    bank: Bank,
    backbone: Backbone,
    samples: Sequence[Sample],
    request: AuditRequest,
) -> None:
    table, sections = audit(classifier, spec, bank, backbone, samples, CLASSES, request)
    note_findings(member, find(Counts.of(bank, [table]), bank, request.seed))
    for section in sections:
        note_section(member, section)


def audit(
    classifier: Classifier,
    spec: ClassifierSpec,
    bank: Bank,
    backbone: Backbone,
    samples: Sequence[Sample],
    names: Sequence[str],
    request: AuditRequest,
) -> tuple[pa.Table, list[Section]]:
    """The rows of an audit in one shard, and the sections of its measurements; `names` are those of the labels."""
    classes = map_classes(bank, names, spec.classes)
    labels = np.array([sample.label for sample in samples], dtype=np.int32)
    pictures = Pictures(labels, lambda rows: iter([samples[row] for row in rows]))
    subjects = Subjects(bank, backbone, classifier.forward, spec.preprocessing, classes, pictures, classifier.provider)
    table = audit_shard(samples, subjects, request, 10**6, lambda done: None)
    scope = scope_of(bank, classes, pictures, request.seed)
    sections = []
    for own, asked in request.chosen():
        if (tally := own.tally(scope, asked)) is not None:
            tally.add(table)
            while tally.again():
                tally.add(table)
            sections.append(tally.section())
    return table, sections


def note_findings(member: Member, findings: Findings) -> None:
    """Keep the figures that stand in an audit's findings."""
    names = [*(measure.name for measure in CLASS_MEASURES), "evidence_balance"]
    for name in names:
        member.means[name] = getattr(findings.overall, name).class_mean.value
        member.classes[name] = _values((own.name, getattr(own, name)) for own in findings.classes)
    member.flagged["verdict"] = [own.name for own in findings.classes if own.verdict == "relies"]


def note_section(member: Member, section: Section) -> None:
    """Keep the figures of one measurement."""
    for metric in section.metrics:
        for part in dict.fromkeys(entry.part for entry in section.entries if entry.metric == metric.name):
            own = [e for e in section.entries if (e.metric, e.part, e.feature) == (metric.name, part, None)]
            name = f"{section.name}.{metric.name}" + (f"[{part}]" if part else "")
            member.means[name] = next((entry.figure.value for entry in own if entry.of is None), None)
            member.classes[name] = _values((entry.of, entry.figure) for entry in own if entry.of is not None)
            if any(entry.p_value is not None for entry in own):
                member.flagged[name] = [entry.of for entry in own if entry.flagged and entry.of is not None]


def _values(figures: Iterable[tuple[str | None, Figure]]) -> dict[str, float]:
    return {name: figure.value for name, figure in figures if name is not None and figure.value is not None}
