"""Brings together what an export names: bank, data set, their classes, and the features that get masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.class_map import NOT_CHOSEN, NOT_IN_BANK, WITHOUT_FEATURES, known_class, match_class
from jobs.datasets import DatasetRecord, get_dataset
from jobs.errors import Invalid
from jobs.export_request import ExportRequest
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from models.bank import Bank, Feature

REASONS = {
    NOT_IN_BANK: "the bank has no class of this name, and the request maps it to none",
    NOT_CHOSEN: "the request names the classes to export, and this is not among them",
    WITHOUT_FEATURES: "the class has no labelled feature of those asked for",
}


@dataclass(frozen=True)
class Choice:
    """What of a bank and a data set an export is about.

    Attributes:
        bank: the labels.
        folders: names of the data set's classes, by label.
        of_label: int32 [labels], class of the bank per label of the data set; -1 where there is none.
        skipped: reason code per label whose pictures are not looked at.
        chosen: classes of the bank that the request names, or all.
        features: those that get masks, by class of the bank and then by rank; classes without any are left out.
    """

    bank: Bank
    folders: Sequence[str]
    of_label: NDArray[np.int32]
    skipped: Mapping[int, str]
    chosen: frozenset[int]
    features: Mapping[int, tuple[Feature, ...]]

    def reason(self, class_index: int) -> str | None:
        """Why pictures of a class of the bank (-1 for none) get no masks; None where they may."""
        if class_index < 0:
            return NOT_IN_BANK
        if class_index not in self.chosen:
            return NOT_CHOSEN
        return None if class_index in self.features else WITHOUT_FEATURES

    def shared(self, class_index: int) -> bool:
        """Whether pictures of several folders are of this class."""
        return int((self.of_label == class_index).sum()) > 1


def choose(store: Store, settings: Settings, request: ExportRequest) -> Choice:
    """Find out what is asked for.

    Raises:
        NotFound: There is no such bank or data set.
        Invalid: A class or feature is unknown, the classes do not meet, or nothing is left to be written.
    """
    bank = find_bank(settings, request.bank)
    dataset = get_dataset(store, request.dataset)
    if request.pictures and request.format != "webdataset":
        raise Invalid(
            f"Format {request.format!r} has no place for pictures.",
            field="pictures",
            remedy="Ask for format 'webdataset', or leave the pictures out.",
        )
    chosen = frozenset(
        range(len(bank.classes))
        if request.classes is None
        else (known_class(bank, name, "classes") for name in request.classes)
    )
    features = _features(bank, request, chosen)
    of_label = _of_label(bank, dataset, request)
    found = Choice(bank, dataset.classes, of_label, {}, chosen, features)
    if request.class_of == "predicted":
        return found
    reasons = {label: found.reason(index) for label, index in enumerate(of_label.tolist())}
    skipped = {label: code for label, code in reasons.items() if code is not None}
    if len(skipped) == len(reasons):
        raise _nothing(dataset, Counter(skipped.values()))
    return Choice(bank, dataset.classes, of_label, skipped, chosen, features)


def _features(bank: Bank, request: ExportRequest, chosen: frozenset[int]) -> dict[int, tuple[Feature, ...]]:
    """Those asked for of the chosen classes. Raises Invalid, unless each of them is there and there is one at all."""
    wanted = request.features
    labelled = {index: bank.features(index) for index in sorted(chosen)}
    if isinstance(wanted, list):
        known = {feature.feature_index for rows in labelled.values() for feature in rows}
        for index in wanted:
            if index not in known:
                raise Invalid(
                    f"Bank {bank.name!r} has no labelled feature {index} in the classes asked for.",
                    field="features",
                    remedy="Use all, core, spurious, or indices from the classes' lists of features.",
                )
    rows = {
        index: tuple(
            f for f in own if wanted in ("all", f.label) or (isinstance(wanted, list) and f.feature_index in wanted)
        )
        for index, own in labelled.items()
    }
    found = {index: own for index, own in rows.items() if own}
    if not found:
        raise Invalid(
            "None of the classes asked for has such a labelled feature, so there is nothing to write.",
            field="features",
            remedy="Ask for features 'all', or for other classes.",
        )
    labels = {feature.label for own in found.values() for feature in own}
    for label in request.unions:
        if label not in labels:
            raise Invalid(f"No {label} feature is asked for, so its masks have no union.", field="unions")
    return found


def _of_label(bank: Bank, dataset: DatasetRecord, request: ExportRequest) -> NDArray[np.int32]:
    targets = {name: known_class(bank, target, "class_map") for name, target in (request.class_map or {}).items()}
    return np.array([match_class(bank, name, targets) for name in dataset.class_names(bank.classes)], dtype=np.int32)


def _nothing(dataset: DatasetRecord, reasons: Counter[str]) -> Invalid:
    """No picture would get a mask: the field at fault is that of the reason that came nearest to one."""
    for code, field in ((WITHOUT_FEATURES, "features"), (NOT_CHOSEN, "classes")):
        if code in reasons:
            return Invalid(f"No class of the data set gets masks: {REASONS[code]}.", field=field)
    return Invalid(
        f"None of the data set's {len(dataset.classes)} classes, of which the first is {dataset.classes[0][:100]!r}, "
        "is a class of the bank.",
        field="class_map",
        remedy="Name the bank's class for each class of the data set in class_map, or ask for class_of 'predicted'.",
    )
