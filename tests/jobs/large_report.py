"""A report of many classes, from counts drawn at random: what the page must bear, not what any classifier does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from jobs.audit_request import AuditRequest
from jobs.classifiers import ClassifierRecord
from jobs.counts import Counts
from jobs.datasets import DatasetRecord
from jobs.figures import Estimate, Figure
from jobs.reduction import find
from jobs.report import Report, make_report
from jobs.sections import Entry, Metric, Point, Section, Series, Unit, adjusted
from jobs.trial import Trial
from jobs.units import show
from models.bank import Bank
from models.classifiers.spec import ClassifierSpec
from models.statistics import NORMAL_95, Interval, wilson
from tests.jobs import world

PICTURES = 60
DISTINCT = 20
"""Classes whose figures are bootstrapped; the rest repeat them."""

CHANNELS = 2048
NO_DRAWS = np.zeros(0)


@dataclass(frozen=True)
class Shape:
    """How many figures a section has: metrics of these units for each class, times features, times parts."""

    name: str
    units: tuple[Unit, ...]
    parts: tuple[str, ...] = ()
    features: bool = False
    curve: bool = False


SHAPES = (
    Shape("natural-pictures", ("points", "share", "share", "share"), curve=True),
    Shape("class-leaks", ("points",), features=True),
    Shape("failure-modes", ("points", "share", "share"), features=True),
    Shape(
        "noise-sweep",
        ("points", "points", "points", "points", "nats", "nats", "share", "index"),
        ("0.125", "0.25", "0.5"),
    ),
    Shape("ablations", ("points", "nats", "share"), ("grey", "blur", "shuffle", "inpaint")),
    Shape("artefacts", ("points", "share", "share", "points"), ("tag", "stripe", "background-blur", "patch")),
    Shape("overlap", ("share", "points", "points"), ("core only", "spurious only", "both")),
    Shape("spurious-only", ("share", "share", "share")),
    Shape("own-head", ("nats", "share"), features=True),
)
"""Like the measurements there are."""


def bank(names: Sequence[str], features: int) -> Bank:
    """Classes with a core feature first and `features` - 1 spurious ones after it."""
    labelled = (
        world.feature(c, (c * features + j) % CHANNELS, j + 1, "core" if j == 0 else "spurious")
        for c in range(len(names))
        for j in range(features)
    )
    small = world.bank().manifest
    backbone = small.backbone.model_copy(update={"maps": (CHANNELS, 7, 7)})
    return Bank(
        Path("large"),
        small.model_copy(update={"classes": tuple(names), "backbone": backbone, "features": tuple(labelled)}),
    )


def large_report(
    names: Sequence[str], features: int = 5, title: str = "large", shapes: Sequence[Shape] = SHAPES
) -> Report:
    """A report of these classes, every tenth of which is relied on for its cues.

    Args:
        names: of the classes.
        features: labelled ones of each class.
        title: name of the classifier and of the data set.
        shapes: of the sections.
    """
    generator = np.random.default_rng(0)
    own = bank(names[:DISTINCT], features)
    counts = _counts(own, features, generator)
    found = find(counts, own, 0)
    classes = [
        found.classes[c % DISTINCT].model_copy(update={"name": name, "index": c}) for c, name in enumerate(names)
    ]
    sections = [_section(shape, names, features, generator) for shape in shapes]
    return make_report(
        "a" * 32,
        "1.0+0",
        AuditRequest(classifier="c", dataset="d", bank="large"),
        classifier(title, tuple(names)),
        dataset(title, names),
        own,
        counts,
        found.model_copy(update={"classes": classes}),
        sections,
    )


def _counts(own: Bank, features: int, generator: np.random.Generator) -> Counts:
    """Of `PICTURES` pictures of each class, independent under all that is done to them."""
    counts, classes = Counts(own), np.arange(len(own.classes))
    lost = np.where(classes % 10 == 0, 0.7, generator.uniform(0, 0.15, len(classes)))
    clean = generator.uniform(0.7, 0.97, len(classes))
    for key, c in enumerate(np.r_[np.tile(classes, 4), np.repeat(classes, features)]):
        right = generator.random((PICTURES, 4)) < clean[c] * np.array([1, 0.95, 0.95, 0.95 - lost[c]])
        counts._patterns[key] = np.bincount(right @ [8, 4, 2, 1], minlength=16)
        evidence = generator.normal(2 * lost[c], 1, PICTURES)
        counts._sums[key] = PICTURES * 3, PICTURES * 3, PICTURES * 0.1, evidence.sum(), (evidence**2).sum()
    return counts


def classifier(name: str, classes: tuple[str, ...]) -> ClassifierRecord:
    """A classifier that was uploaded."""
    trial = Trial(
        provider="CPUExecutionProvider",
        network_isolated=True,
        fixed_batch=None,
        seconds_to_open=1,
        seconds_per_picture=1,
        warnings=[],
    )
    spec = ClassifierSpec(format="onnx", classes=classes, preprocessing=world.PREPROCESSING, name=name, version="7")
    return ClassifierRecord(id="c" * 64, spec=spec, blob="b" * 64, bytes=1, trial=trial, created=datetime.now(UTC))


def dataset(name: str, classes: Sequence[str], pictures: int | None = None) -> DatasetRecord:
    """A data set that was uploaded."""
    return DatasetRecord(
        id="d" * 64,
        name=name,
        format="zip",
        blob="d" * 64,
        bytes=1,
        pictures=PICTURES * len(classes) if pictures is None else pictures,
        classes=list(classes),
        class_pictures=[0] * len(classes),
        skipped_counts={},
        skipped=[],
        warnings=[],
        created=datetime.now(UTC),
    )


def _section(shape: Shape, names: Sequence[str], features: int, generator: np.random.Generator) -> Section:
    metrics = tuple(
        Metric(
            name=f"figure_{i}",
            title=f"Figure {i + 1} of {shape.name} in {unit}",
            unit=unit,
            worse="higher" if unit != "share" else "lower",
            about=f"Drawn at random, in {unit}.",
        )
        for i, unit in enumerate(shape.units)
    )
    means = [_entry(metric, None, None, part, generator) for metric in metrics for part in shape.parts or (None,)]
    own = adjusted(list(_entries(shape, metrics, names, features, generator)))
    return Section(
        name=shape.name,
        title=shape.name.replace("-", " ").capitalize(),
        answer=f"In {sum(entry.flagged for entry in own):,} places something is flagged.",
        method=("Figures are drawn at random.", "They say nothing."),
        metrics=metrics,
        entries=(*means, *own),
        series=tuple(_curve(name, generator) for name in (None, *names)) if shape.curve else (),
    )


def _entries(
    shape: Shape, metrics: Sequence[Metric], names: Sequence[str], features: int, generator: np.random.Generator
) -> Iterator[Entry]:
    for c, name in enumerate(names):
        for feature in range(c * features, (c + 1) * features) if shape.features else (None,):
            for part in shape.parts or (None,):
                for metric in metrics:
                    yield _entry(metric, name, None if feature is None else feature % CHANNELS, part, generator)


def _entry(
    metric: Metric, of: str | None, feature: int | None, part: str | None, generator: np.random.Generator
) -> Entry:
    figure = _figure(metric.unit, of, generator)
    p_value = float(generator.random() ** 4) if metric.name == "figure_0" and of and figure.value is not None else None
    return Entry(metric=metric.name, of=of, feature=feature, part=part, figure=figure, p_value=p_value)


def _figure(unit: Unit, of: str | None, generator: np.random.Generator) -> Figure:
    n = int(generator.integers(15, 80))
    right = int(generator.binomial(n, 0.8))
    interval, value = wilson(right, n), right / n
    if unit != "share":
        value, error = float(generator.normal(0.1, 0.2)), float(generator.uniform(0.02, 0.1))
        interval = Interval(value - NORMAL_95 * error, value + NORMAL_95 * error)
    estimate = Estimate(value, interval, n, NO_DRAWS, 0)
    return estimate.figure("Drawn at random:", f"on the pictures of {of or 'a class'}", lambda own: show(own, unit))


def _curve(name: str | None, generator: np.random.Generator) -> Series:
    points = tuple(Point(x=(i + 0.5) / 10, figure=_figure("share", name, generator)) for i in range(10))
    return Series(
        name="accuracy",
        title="Accuracy over spuriosity",
        x_title="share that shows less",
        unit="share",
        of=name,
        points=points,
    )
