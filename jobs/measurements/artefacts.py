"""Planted artefacts: how often a tag, a stripe, a blurred background or one's own patch makes a classifier say a class.

Source: Adebayo, Muelly, Abelson & Kim (ICLR 2022); see `models.artefacts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from jobs import rows
from jobs.figures import Estimate, change, difference, generator_of, percent, points, share
from jobs.mean_changes import MeanChanges, Values
from jobs.measurement import (
    Batch,
    Change,
    Changed,
    Changes,
    Measurement,
    Parameters,
    Scope,
    Tally,
    changes_by_class,
)
from jobs.patches import MOST_SIDE, open_patch
from jobs.readings import Reading, flagged_in_words, in_order
from jobs.said import READS, Said, said_by_class
from jobs.sections import Entry, Metric, Section
from models.artefacts import ARTEFACTS, Place, Plant, patch
from models.masks import union
from models.statistics import DRAWS, Interval, more_often_right

NAME = "artefacts"
TESTED, CONTROL = f"{NAME}/tested", f"{NAME}/control"
PATCH = "patch"
Ints = NDArray[np.int64]
Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]

SCORE = Reading(
    Metric(
        name="spurious_score",
        title="Spurious score (SS)",
        unit="share",
        worse="higher",
        about="Share taken for the class with the artefact, of the pictures that are not without it.",
    ),
    "With the {part} planted,",
    "of the pictures taken for something else are taken to be {subject}; higher is worse",
    percent,
)
CONTROL_SCORE = Reading(
    Metric(
        name="control_score",
        title="Score of the control",
        unit="share",
        worse="neither",
        about="The same with the control of the artefact in its place.",
    ),
    "With the control of the {part} planted,",
    "of the pictures taken for something else are taken to be {subject}; the score is to be held against it",
    percent,
)
DIFFERENCE = Reading(
    Metric(
        name="score_difference",
        title="Spurious score beyond the control",
        unit="points",
        worse="higher",
        about="Spurious score less the score of the control, on the same pictures.",
    ),
    "The {part} turns",
    "more of the pictures taken for something else into ones {subject} than its control does; higher is worse",
    points,
)
OWN = Reading(
    Metric(
        name="own_difference",
        title="On the class's own pictures",
        unit="points",
        worse="neither",
        about="Accuracy with the artefact less accuracy with its control, on pictures of the class itself.",
    ),
    "The {part} adds",
    "of accuracy beyond its control on the pictures {subject}; far from 0, whichever way, the artefact is looked at",
    points,
)

METHOD = (
    "SS(f, s, c) = P[argmax f(x ⊕ s) = c | argmax f(x) ≠ c]: of the pictures not taken for class c, how many are once "
    "they carry the artefact s (Adebayo et al., ICLR 2022). Above .85 the authors call a model spurious, below .1 for "
    "all classes normal.",
    "Every picture carries a control too, in the same place: a patch in its complementary colours with its pixels "
    "shuffled, a background sharpened by what the blur takes away.",
    "A class is flagged for an artefact where more pictures turn into it with the artefact than with the control "
    "(McNemar's exact test, one-sided, Benjamini and Hochberg over classes and artefacts) and the 95 % interval of the "
    "difference lies above 0.",
)


class ArtefactParameters(Parameters):
    """Of `artefacts`."""

    artefacts: tuple[str, ...] = Field(tuple(ARTEFACTS), description="Which are planted.")
    patch: str | None = Field(
        None, description=f"One's own: base64 of a PNG of at most {MOST_SIDE} pixels a side, transparent where wished."
    )
    patch_share: float = Field(0.2, gt=0, le=1, description="Of the picture's side that the patch's longer one takes.")
    patch_place: Place = Field("bottom-right", description="Where the patch is planted.")
    pictures: int = Field(50, ge=1, description="At most this many pictures of each class carry artefacts.")

    @field_validator("artefacts")
    @classmethod
    def _known(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """In the order of the table, each once."""
        if unknown := [name for name in chosen if name not in ARTEFACTS]:
            raise ValueError(
                f"unknown artefact {unknown[0]!r}; known are {', '.join(ARTEFACTS)}; own ones go to `patch`"
            )
        return tuple(name for name in ARTEFACTS if name in chosen)

    @field_validator("patch")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None:
            open_patch(text)
        return text

    @model_validator(mode="after")
    def _any(self) -> ArtefactParameters:
        if not self.artefacts and self.patch is None:
            raise ValueError("nothing is to be planted; name one of `artefacts` or give a `patch`")
        return self

    @property
    def parts(self) -> list[str]:
        """How rows and entries call each artefact."""
        return [*self.artefacts, *([] if self.patch is None else [PATCH])]


class Artefacts(Measurement):
    """Forward only: the cheapest evidence that a known artefact is relied on."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Planted artefacts"
    summary: ClassVar[str] = (
        "How often a planted tag, stripe, blurred background or patch of one's own makes the classifier say a class, "
        "against a control in the same place."
    )
    needs: ClassVar[tuple[str, ...]] = ("pictures of several classes",)
    parameters: ClassVar[type[Parameters]] = ArtefactParameters
    metrics: ClassVar[tuple[Metric, ...]] = tuple(own.metric for own in (SCORE, CONTROL_SCORE, DIFFERENCE, OWN))

    def changed(self, batch: Batch, parameters: ArtefactParameters) -> Iterator[Changed]:
        """Each artefact and its control on the pictures that were drawn."""
        place = batch.scope.place[[view.row for view in batch.views]]
        owner = np.flatnonzero(place < parameters.pictures)
        core = union(batch.seen.masks, batch.seen.core)
        for (part, plant), control in product(_plants(parameters).items(), (False, True)):
            yield _planted(batch, owner, core, part, plant, control)

    def tally(self, scope: Scope, parameters: ArtefactParameters) -> Tally:
        """Counts answers by class and artefact."""
        return _Tally(scope, parameters)

    def changes(self, scopes: tuple[Scope, Scope], parameters: ArtefactParameters) -> tuple[Changes, ...]:
        """Of all figures."""
        parts = parameters.parts
        own = MeanChanges(NAME, scopes, READS, lambda table, scope: _values(table, scope, parts))
        return own, _ScoreChanges(scopes, parts)


def _said(table: pa.Table, scope: Scope, parts: Sequence[str]) -> Iterator[tuple[Said, Said, Said]]:
    """For each artefact what was said to the pictures that carried it: without it, with it, and with its control."""
    clean = Said.of(table, rows.CLEAN, scope.of_output)
    for part in parts:
        of_part = table.filter(pc.equal(table["part"], part))
        tested, control = (Said.of(of_part, variant, scope.of_output) for variant in (TESTED, CONTROL))
        yield clean.at(np.searchsorted(clean.row, tested.row)), tested, control


def _values(table: pa.Table, scope: Scope, parts: Sequence[str]) -> Iterator[Values]:
    """How much more often than its control an artefact leaves pictures of the class in it."""
    found = [
        (own.row, own.label, np.full(own.row.size, place), (own.said == own.label) - 1.0 * (control.said == own.label))
        for place, (_, own, control) in enumerate(_said(table, scope, parts))
    ]
    row, label, part, value = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    yield Values(OWN.metric.name, 2, row, label, value, parts, part)


@lru_cache(maxsize=8)
def _plants(parameters: ArtefactParameters) -> Mapping[str, Plant]:
    found = {name: ARTEFACTS[name].plant for name in parameters.artefacts}
    if parameters.patch is not None:
        found[PATCH] = patch(open_patch(parameters.patch), parameters.patch_share, parameters.patch_place)
    return found


def _planted(batch: Batch, owner: Ints, core: Tensor, part: str, plant: Plant, control: bool) -> Changed:
    at = torch.from_numpy(owner).to(core.device)

    def make(own: slice) -> Tensor:
        return plant(batch.pixels[at[own]], core[at[own]], control)

    return Changed(CONTROL if control else TESTED, owner, make, {"part": [part] * len(owner)})


class _Tally(Tally):
    def __init__(self, scope: Scope, parameters: ArtefactParameters) -> None:
        self._scope = scope
        self._parts = parameters.parts
        shape = len(self._parts), len(scope.bank.classes), 2, 2
        self._others, self._own = np.zeros(shape, np.int64), np.zeros(shape, np.int64)

    def add(self, table: pa.Table) -> None:
        classes = self._own.shape[1]
        for index, (before, tested, control) in enumerate(_said(table, self._scope, self._parts)):
            self._others[index] += said_by_class(classes, tested.said, control.said)
            self._others[index] -= said_by_class(classes, tested.said, control.said, before.said)
            self._own[index] += said_by_class(classes, tested.said, control.said, before.label)

    def section(self) -> Section:
        entries = in_order(self._entries(), self._scope.bank)
        finding = "An artefact makes the classifier say a class more often than its control"
        return Section(
            name=NAME,
            title=Artefacts.title,
            answer=flagged_in_words(entries, DIFFERENCE.metric.name, finding),
            method=METHOD,
            metrics=Artefacts.metrics,
            entries=entries,
        )

    def _entries(self) -> Iterator[Entry]:
        bank, seed = self._scope.bank, self._scope.seed
        for index, part in enumerate(self._parts):
            others = {c: self._others[index, c] for c in self._scope.classes}
            own = {c: self._own[index, c] for c in self._scope.classes}

            def draws(reading: Reading, c: int, part: str = part) -> np.random.Generator:
                return generator_of(seed, NAME, reading.metric.name, part, c)

            score = {c: share(table.sum(axis=1), draws(SCORE, c)) for c, table in others.items()}
            control = {c: share(table.sum(axis=0), draws(CONTROL_SCORE, c)) for c, table in others.items()}
            beyond = {c: difference(table, draws(DIFFERENCE, c)) for c, table in others.items()}
            yield from SCORE.entries(bank, score, part)
            yield from CONTROL_SCORE.entries(bank, control, part)
            p_values = {c: more_often_right(table) for c, table in others.items()}
            yield from DIFFERENCE.entries(bank, beyond, part, p_values)
            yield from OWN.entries(bank, {c: difference(table, draws(OWN, c)) for c, table in own.items()}, part)


TAKEN, UNMOVED, BY_CONTROL, BY_ARTEFACT, BY_BOTH = range(STATES := 5)
"""What becomes of a picture for one class: taken for it from the start, or moved to it by neither, one or both."""


class _ScoreChanges(Changes):
    """By class and artefact, how often each pair of states occurs in both audits."""

    reads = READS

    def __init__(self, scopes: tuple[Scope, Scope], parts: Sequence[str]) -> None:
        self._scopes, self._parts = scopes, parts
        self._states = np.zeros((len(parts), len(scopes[0].bank.classes), STATES, STATES), np.int64)
        self._pictures = np.zeros(len(parts), np.int64)

    def add(self, first: pa.Table, second: pa.Table) -> None:
        audits = [_said(table, scope, self._parts) for table, scope in zip((first, second), self._scopes, strict=True)]
        for index, (own, other) in enumerate(zip(*audits, strict=True)):
            places = own[0].places(other[0])
            said = np.stack([one.said[at] for audit, at in zip((own, other), places, strict=True) for one in audit])
            self._pictures[index] += said.shape[1]
            new = said >= 0  # each class that was said of a picture, once
            for i in range(1, len(said)):
                new[i] &= (said[:i] != said[i]).all(axis=0)
            which, at = np.nonzero(new)
            c = said[which, at]
            state, other_state = (_state(*audit) for audit in (said[:, at] == c).reshape(2, 3, -1))
            np.add.at(self._states[index], (c, state, other_state), 1)

    def found(self) -> Iterator[Change]:
        for index, part in enumerate(self._parts):
            tables = {c: self._states[index, c].copy() for c in self._scopes[0].classes}
            for table in tables.values():
                table[UNMOVED, UNMOVED] += self._pictures[index] - table.sum()
            for reading, score in SCORES.items():
                by_class = {c: self._change(reading, part, c, table, score) for c, table in tables.items()}
                yield from changes_by_class(self._scopes[0].bank, reading.metric.name, by_class, part)

    def _change(self, reading: Reading, part: str, c: int, table: Ints, score: Score) -> Estimate:
        n = min(int(table[1:].sum()), int(table[:, 1:].sum()))
        if not n:
            return Estimate(0.0, Interval(0.0, 0.0), 0, np.zeros(DRAWS), lowest=-np.inf)
        generator = generator_of(self._scopes[0].seed, NAME, "change", reading.metric.name, part, c)
        return replace(change(table, score, generator), n=n)


def _state(taken: NDArray[np.bool_], by_artefact: NDArray[np.bool_], by_control: NDArray[np.bool_]) -> Ints:
    return np.where(taken, TAKEN, UNMOVED + by_control * (BY_CONTROL - UNMOVED) + by_artefact * (BY_ARTEFACT - UNMOVED))


def _among_others(weights: Sequence[float]) -> Score:
    """The mean of some values of the states, over the pictures that are not taken for the class from the start."""
    values = np.array(weights)
    return lambda states: (states @ values) / states[..., UNMOVED:].sum(axis=-1)


SCORES: Mapping[Reading, Score] = {
    SCORE: _among_others([0, 0, 0, 1, 1]),
    CONTROL_SCORE: _among_others([0, 0, 1, 0, 1]),
    DIFFERENCE: _among_others([0, 0, -1, 1, 0]),
}
"""From shares or counts of the states [..., STATES] to the figure [...]."""


MEASUREMENT = Artefacts()
