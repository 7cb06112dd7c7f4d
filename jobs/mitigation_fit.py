"""From what was seen of the pictures to how the classifier is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import Invalid
from jobs.figures import MINIMUM_PICTURES
from jobs.list_columns import by_class, matrix
from jobs.mitigation_request import MitigationRequest
from jobs.spuriosity import Extremes, Ranked, merge_extremes, moments_of, spuriosity
from models.bank import Bank
from models.classifiers.linear_head import LinearHead
from models.spufix import Covariation, Evidence
from models.training.linear_head import fit_head

Tables = Callable[[], Iterable[pa.Table]]
"""The shards' tables of `jobs.mitigation_look`, one at a time, as often as asked for."""


class ClassFit(BaseModel):
    """What was done for one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pictures: int = Field(description="Fitted on.")
    outputs: list[int] = Field(description="Outputs of the classifier that are changed for it.")
    features: list[int] = Field(description="Spurious features of the bank that are acted on, by rank.")
    ridge: float | None = Field(None, description="spufix: largest ridge on the directions' Gram matrix.")
    spuriosity: float | None = Field(None, description="head-refit: mean of its pictures, standard deviations.")
    left_out: str | None = Field(None, description="Why nothing was done for it.")


@dataclass(frozen=True)
class Fit:
    """How the classifier is changed, and why.

    Attributes:
        arrays: as `jobs.patching.Patch.arrays`.
        classes: what was done for each class, in the order of the bank.
        loss: head-refit: mean cross-entropy on the pictures fitted on, nats.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    classes: list[ClassFit]
    loss: float | None = None


def fit_spufix(
    tables: Tables, head: LinearHead, of_output: NDArray[np.int32], changed: Iterable[int], bank: Bank, apart: float
) -> Fit:
    """Evidence to be taken off the scores of some classes; see `models.spufix`.

    Args:
        tables: of the pictures fitted on.
        head: of the classifier.
        of_output: class index in the bank of each output, or -1.
        changed: class indices with spurious features.
        bank: the labels.
        apart: see `models.spufix.Evidence.transferred`.

    Raises:
        Invalid: no class has pictures and variation enough.
    """
    sums: dict[int, Covariation] = {}
    for table in tables():
        for class_index, part in by_class(table):
            if bank.spurious(class_index):
                own = Covariation.of(matrix(part["features"]), matrix(part["activation"]))
                sums[class_index] = sums[class_index].merge(own) if class_index in sums else own
    found: list[tuple[int, Evidence]] = []
    classes = []
    for class_index in changed:
        count = sums[class_index].count if class_index in sums else 0
        told = ClassFit(name=bank.classes[class_index], pictures=count, outputs=[], features=[])
        if count < MINIMUM_PICTURES:
            classes.append(told.model_copy(update={"left_out": _few(count)}))
            continue
        outputs = np.flatnonzero(of_output == class_index).tolist()
        own_evidence = [Evidence.transferred(sums[class_index], head.weight[output], apart) for output in outputs]
        found += zip(outputs, own_evidence, strict=True)
        spurious = [feature.feature_index for feature in bank.spurious(class_index)]
        acted = {"outputs": outputs, "features": [spurious[k] for k in own_evidence[0].of]}
        still = "the classifier's features do not vary with its spurious features" if not acted["features"] else None
        ridge = max(one.ridge for one in own_evidence)
        classes.append(told.model_copy(update={**acted, "ridge": ridge, "left_out": still}))
    weight = np.concatenate([np.zeros((0, head.weight.shape[1])), *(one.weight for _, one in found)])
    if not len(weight):
        raise Invalid(
            "No class has a spurious feature that varies over pictures enough, so SpuFix has nothing to take off.",
            field="dataset",
            remedy=f"fit on at least {MINIMUM_PICTURES} pictures of a class with spurious features",
        )
    arrays = {
        "weight": weight,
        "offset": np.concatenate([one.offset for _, one in found]),
        "outputs": np.repeat([output for output, _ in found], [len(one.offset) for _, one in found]),
    }
    return Fit(arrays, classes)


def refit_head(
    tables: Tables,
    head: LinearHead,
    of_output: NDArray[np.int32],
    bank: Bank,
    request: MitigationRequest,
    still_wanted: Callable[[], None] = lambda: None,
) -> Fit:
    """Another weight and bias, fitted on the least spurious pictures of each class, the features as they are.

    Multinomial logistic regression over the classes that have pictures, on what has to be added to the present scores:
    the penalty pulls towards the present head, and outputs without pictures keep theirs. Classes without spurious
    features take part with as many pictures, drawn at random.

    Raises:
        Invalid: fewer than two classes have pictures.
    """
    chosen, classes = choose_pictures(tables, of_output, bank, request)
    rows = {row: output for output, pictures in chosen.items() for row in pictures}
    features, targets = [], []
    for table in tables():
        places = [place for place, row in enumerate(table["row"].to_pylist()) if row in rows]
        if places:
            part = table.take(places)
            features.append(matrix(part["features"]))
            targets += [rows[row] for row in part["row"].to_pylist()]
    outputs = sorted(set(targets))
    if len(outputs) < 2:
        raise Invalid(
            "Fewer than two classes have pictures to fit a head on.",
            field="dataset",
            remedy="fit on a data set with pictures of the classifier's classes",
        )
    values = np.concatenate(features)
    labels = torch.from_numpy(np.searchsorted(outputs, targets))
    present = torch.from_numpy(head.scores(values)[:, outputs])
    decay = request.weight_decay
    more = fit_head(torch.from_numpy(values), labels, len(outputs), decay, still_wanted, given=present)
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[outputs] += more.weight.numpy()
    bias[outputs] += more.bias.numpy()
    return Fit({"weight": weight, "bias": bias}, classes, more.loss)


def choose_pictures(
    tables: Tables, of_output: NDArray[np.int32], bank: Bank, request: MitigationRequest
) -> tuple[dict[int, list[int]], list[ClassFit]]:
    """Rows to fit on, by output, and what is told of each class.

    Of a class with spurious features the least spurious `lowest` pictures, at most half of them: the other half shows
    what is to be unlearnt. Of any other class that many, drawn with the seed.
    """
    moments = moments_of(
        (class_index, matrix(part["activation"]))
        for table in tables()
        for class_index, part in by_class(table)
        if bank.spurious(class_index)
    )
    ends: dict[int, Extremes] = {}
    plain: dict[int, list[int]] = {}
    for table in tables():
        for class_index, part in by_class(table):
            rows = part["row"].to_pylist()
            if class_index not in moments:
                plain.setdefault(class_index, []).extend(rows)
                continue
            scores = spuriosity(matrix(part["activation"]), moments[class_index]).tolist()
            ranked = [Ranked(score, row, "") for score, row in zip(scores, rows, strict=True)]
            ends[class_index] = merge_extremes(ends, class_index, request.lowest, ranked)
    chosen: dict[int, list[int]] = {}
    classes = []
    for class_index in sorted({*ends, *plain}):
        outputs = np.flatnonzero(of_output == class_index).tolist()
        told = ClassFit(name=bank.classes[class_index], pictures=0, outputs=[], features=[])
        if len(outputs) != 1:
            classes.append(told.model_copy(update={"left_out": f"{len(outputs)} outputs stand for it"}))
            continue
        mean = None
        if class_index in ends:
            lowest = ends[class_index].lowest[: ends[class_index].length]
            rows, mean = [one.row for one in lowest], float(np.mean([one.spuriosity for one in lowest] or [0.0]))
        else:
            order = np.random.default_rng([request.seed, class_index]).permutation(plain[class_index])
            rows = order[: request.lowest].tolist()
        chosen[outputs[0]] = rows
        spurious = [feature.feature_index for feature in bank.spurious(class_index)]
        acted = {"outputs": outputs, "features": spurious, "spuriosity": mean, "pictures": len(rows)}
        classes.append(told.model_copy(update=acted))
    return chosen, classes


def _few(pictures: int) -> str:
    return f"{pictures} pictures are too few, at least {MINIMUM_PICTURES} are needed"
