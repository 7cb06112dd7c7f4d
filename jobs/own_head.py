"""What a classifier's own features say of the bank's spurious features: sums of two passes, and figures from them.

For class k, psi_k = W_k * f are the pieces of its logit, one per own feature. A spurious feature's transfer direction d
is the unit vector along which psi_k goes with the feature's activation over the class's pictures (`models.spufix`);
beta is what a picture's psi_k has along it, in logit units and beyond the class's average. Directions are found on one
half of a class's pictures and looked at on the other, both ways: on its own half even noise finds itself a direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.figures import MINIMUM_PICTURES, Estimate, Figure, evidence, generator_of, index, mean, nats
from jobs.list_columns import by_class, matrix
from jobs.measurement import Scope, Tally
from jobs.sections import Entry, Metric, Section
from models.bank import Feature
from models.spufix import Covariation, Evidence
from models.statistics import DRAWS, NORMAL_95, Interval

NAME, TITLE = "own-head", "The classifier's own features"
EVIDENCE, ACTIVATION, WITHOUT = "own_evidence", "own_activation", "own_without"
HALVES = 2
FEWEST = MINIMUM_PICTURES // HALVES
"""Pictures of a half from which directions are taken."""

APART = 0.05
"""See `models.spufix.Evidence.transferred`."""

METRICS = (
    Metric(
        name="cue_evidence",
        title="Evidence where spurious features show",
        unit="nats",
        worse="higher",
        about="What pictures that clearly show a spurious feature have along its direction, in units of the score, "
        "beyond the class's average.",
    ),
    Metric(
        name="cue_share",
        title="Share of the score's variation along spurious features",
        unit="index",
        worse="neither",
        about="Covariance of the evidence along the directions with the class's score, over the score's variance; up "
        "to 1, below 0 where they work against it. It says how much room the directions take, not what cues do.",
    ),
    Metric(
        name="loading",
        title="Own features that carry it",
        unit="index",
        worse="neither",
        about="Entry of a spurious feature's direction for one own feature; their squares add up to 1.",
    ),
)
METHOD = (
    "The scores are the classifier's last linear layer: score = sum over own features of weight times feature, and a "
    "bias. A spurious feature's direction is the unit vector along which these products vary together with the "
    "feature's activation in the bank's backbone, over the pictures of the class (SpuFix, ICCV 2023, transferred).",
    "Directions come from one half of a class's pictures and the figures on them from the other, both ways. Entries of "
    "the directions come from all.",
    "Own features that go with a spurious feature need not stem from it: what shows it may show more of the object "
    "too. So nothing is flagged here; the section says where in the classifier to look.",
)


@dataclass
class _Class:
    """Sums of one class: `halves` after the first pass, the rest after the second.

    U is the number of spurious features and their total, in that order.
    """

    halves: list[Covariation | None] = field(default_factory=lambda: [None] * HALVES)
    pictures: int = 0
    score: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))  # of v, v^2, v^4
    along: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))  # U x (u, uv, u^2 v^2, u v^3)
    shown: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))  # U x (pictures, u, u^2)
    spread: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))  # K x D, of products squared

    @property
    def whole(self) -> Covariation | None:
        found = [half for half in self.halves if half is not None]
        return found[0].merge(found[1]) if len(found) == HALVES else None


class OwnHeadTally(Tally):
    """Takes in all tables twice."""

    def __init__(self, scope: Scope, listed: int) -> None:
        self._scope, self._listed = scope, listed
        self._classes = {c: _Class() for c in scope.classes if scope.bank.spurious(c)}
        self._second = False
        self._without: str | None = None

    def add(self, table: pa.Table) -> None:
        """See `Tally`."""
        clean = table.filter(pc.equal(table["variant"], rows.CLEAN))
        reasons = clean[WITHOUT].drop_null()
        if len(reasons):
            self._without = reasons[0].as_py()
        known = clean.filter(pc.is_valid(clean[EVIDENCE]))
        for class_index, part in by_class(known):
            psi, alpha = (matrix(part[name]).astype(np.float64) for name in (EVIDENCE, ACTIVATION))
            half = _halves(part["row"].to_numpy())
            own = self._classes[class_index]
            if self._second:
                self._look(own, class_index, psi, alpha, half)
            else:
                for number in range(HALVES):
                    found, before = Covariation.of(psi[half == number], alpha[half == number]), own.halves[number]
                    own.halves[number] = found if before is None else before.merge(found)

    def again(self) -> bool:
        """Once more, where there is anything to look at."""
        wanted = not self._second and any(own.whole is not None for own in self._classes.values())
        self._second = True
        return wanted

    def section(self) -> Section:
        """See `Tally`."""
        if self._without is not None:
            return self._withheld(self._without)
        estimates = {c: self._estimates(c) for c in self._classes}
        if not estimates:
            return self._withheld("the bank knows no spurious feature of the audited classes")
        overall = [mean([own[name, None] for own in estimates.values()]) for name in ("cue_evidence", "cue_share")]
        entries = [
            Entry(metric="cue_evidence", figure=_evidence_figure(overall[0], "where a class's cues show")),
            Entry(metric="cue_share", figure=_share_figure(overall[1], "of a class's score", "its spurious features")),
        ]
        for class_index, own in estimates.items():
            entries += self._entries(class_index, own)
        first = entries[0].figure
        return Section(
            name=NAME,
            title=TITLE,
            answer=first.reading if first.value is not None else "Too few pictures to look at the classifier's head.",
            method=METHOD,
            metrics=METRICS,
            entries=tuple(entries),
        )

    def _withheld(self, reason: str) -> Section:
        sentence = f"Withheld: {reason}."
        return Section(
            name=NAME, title=TITLE, answer=sentence, method=METHOD, metrics=METRICS, entries=(), withheld=reason
        )

    def _look(
        self,
        own: _Class,
        class_index: int,
        psi: NDArray[np.float64],
        alpha: NDArray[np.float64],
        half: NDArray[np.int64],
    ) -> None:
        """Add what some pictures of a class have along the directions of the other half."""
        whole = own.whole
        if whole is None:
            return
        if not own.along.size:
            many, width = whole.products.shape
            own.along, own.shown = np.zeros((many + 1, 4)), np.zeros((many + 1, 3))
            own.spread = np.zeros((many, width))
        shows = _showing(alpha, self._scope.bank.spurious(class_index))
        for number in range(HALVES):
            other = own.halves[1 - number]
            here = half == number
            if other is None or other.count < FEWEST or not here.any():
                continue
            found = Evidence.transferred(other, np.ones(psi.shape[1]), APART)
            beta = np.zeros((int(here.sum()), alpha.shape[1]))
            beta[:, list(found.of)] = found.betas(psi[here])
            u = np.concatenate([beta, beta.sum(axis=1, keepdims=True)], axis=1)
            v = (psi[here] - other.mean).sum(axis=1)
            own.pictures += len(v)
            own.score += [v.sum(), (v**2).sum(), (v**4).sum()]
            own.along += np.stack([u.sum(0), v @ u, v**2 @ u**2, v**3 @ u], axis=1)
            seen = np.concatenate([shows[here], shows[here].any(axis=1, keepdims=True)], axis=1)
            own.shown += np.stack([seen.sum(0), (u * seen).sum(0), (u**2 * seen).sum(0)], axis=1)
        own.spread += np.square(alpha - whole.level).T @ np.square(psi - whole.mean)

    def _estimates(self, class_index: int) -> dict[tuple[str, int | None], Estimate]:
        """The figures of a class: by metric and place of the spurious feature, None for all together."""
        own, many = self._classes[class_index], len(self._scope.bank.spurious(class_index))
        found: dict[tuple[str, int | None], Estimate] = {}
        for place in (*range(many), None):
            at = many if place is None else place
            seed = self._scope.seed
            along, shown = (own.along[at], own.shown[at]) if own.along.size else (np.zeros(4), np.zeros(3))
            found["cue_share", place] = _share(
                own.score, along, own.pictures, generator_of(seed, "cue_share", class_index, at)
            )
            n = int(shown[0])
            first, second = shown[1:] / max(n, 1)
            found["cue_evidence", place] = evidence(
                first, second, n, generator_of(seed, "cue_evidence", class_index, at)
            )
        return found

    def _entries(self, class_index: int, own: dict[tuple[str, int | None], Estimate]) -> Iterator[Entry]:
        name = self._scope.bank.classes[class_index]
        features = self._scope.bank.spurious(class_index)
        for place, feature in ((None, None), *enumerate(features)):
            number = None if feature is None else feature.feature_index
            what = "its spurious features" if feature is None else f"feature {number}"
            share = _share_figure(own["cue_share", place], f"of the score of {name}", what)
            shown = _evidence_figure(own["cue_evidence", place], f"where {name} shows {what}")
            yield Entry(metric="cue_evidence", of=name, feature=number, figure=shown)
            yield Entry(metric="cue_share", of=name, feature=number, figure=share)
        yield from self._loadings(class_index, name, features)

    def _loadings(self, class_index: int, name: str, features: Sequence[Feature]) -> Iterator[Entry]:
        own = self._classes[class_index]
        whole = own.whole
        if whole is None or not own.spread.size:
            return
        directions = whole.directions(np.ones(len(whole.mean)))
        lengths = np.linalg.norm(whole.products, axis=1)
        for place, feature in enumerate(features):
            if not directions[place].any():
                continue
            spread = own.spread[place] - np.square(whole.products[place]) / whole.count
            error = np.sqrt(spread.clip(min=0)) / lengths[place]
            for j in np.argsort(-np.abs(directions[place]), kind="stable")[: self._listed].tolist():
                value, half = float(directions[place, j]), NORMAL_95 * float(error[j])
                estimate = Estimate(value, Interval(value - half, value + half), whole.count, np.zeros(DRAWS), -np.inf)
                lead = f"Own feature {j} enters the direction of feature {feature.feature_index} of {name} with"
                figure = estimate.figure(lead, "of its length; neither direction is worse", index)
                yield Entry(
                    metric="loading", of=name, feature=feature.feature_index, part=f"own feature {j}", figure=figure
                )


def _halves(row: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 or 1 for each row, as if drawn: every other row of an archive that goes round its classes would be of one.

    The last steps of MurmurHash3, which spread every bit of the row over the one that is taken.
    """
    mixed = row.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return (mixed >> np.uint64(63)).astype(np.int64)


def _showing(alpha: NDArray[np.float64], features: Sequence[Feature]) -> NDArray[np.bool_]:
    """bool [N, K]: where each feature is as strong as its label says."""
    bounds = np.array([feature.statistics.valid_from for feature in features])
    shows: NDArray[np.bool_] = (alpha >= bounds) & (alpha > 0)
    return shows


def _share(score: NDArray[np.float64], along: NDArray[np.float64], n: int, generator: np.random.Generator) -> Estimate:
    """cov(u, v) / var(v), about 1 at most, with the normal interval of its linearisation (delta method)."""
    v, vv, vvvv = score / max(n, 1)
    u, uv, uuvv, uvvv = along / max(n, 1)
    variance = vv - v**2
    if n < 2 or variance <= 0:
        return Estimate(0.0, Interval(0.0, 0.0), n, np.zeros(DRAWS), lowest=-np.inf)
    value = (uv - u * v) / variance
    error = sqrt(max(0.0, uuvv - 2 * value * uvvv + value**2 * vvvv) / (n - 1)) / variance
    interval = Interval(value - NORMAL_95 * error, min(value + NORMAL_95 * error, max(1.0, value)))
    return Estimate(float(value), interval, n, generator.normal(value, error, DRAWS), lowest=-np.inf)


def _share_figure(estimate: Estimate, score: str, what: str) -> Figure:
    tail = f"of the variation {score} lies along own features that go with {what}; neither direction is worse"
    return estimate.figure("A share of", tail, index)


def _evidence_figure(estimate: Estimate, tail: str) -> Figure:
    return estimate.figure("Own features that go with spurious ones add", f"{tail}; higher is worse", nats)
