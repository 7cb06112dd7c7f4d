"""What a mitigation brings together, and whether there is anything to be done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.class_map import ClassMap, map_classes
from jobs.classifiers import ClassifierRecord, get_classifier
from jobs.datasets import get_dataset, get_pictures
from jobs.errors import Invalid
from jobs.isolation import IsolatedClassifier
from jobs.mitigation_request import MitigationRequest
from jobs.mitigation_split import Rows, split, wanted_labels
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from models.bank import Bank
from models.classifiers.linear_head import HeadError, LinearHead

FOLDER = "mitigations"


@dataclass(frozen=True)
class MitigationSubjects:
    """What a request names.

    Attributes:
        bank: the labels.
        classifier: to be changed.
        fitted: classes of the data set that is fitted on.
        judged: classes of the data set that is audited on.
        fitted_rows: int64, of the former, ascending.
        judged_rows: int64, of the latter, ascending.
    """

    bank: Bank
    classifier: ClassifierRecord
    fitted: ClassMap
    judged: ClassMap
    fitted_rows: Rows
    judged_rows: Rows

    @property
    def changed(self) -> list[int]:
        """Bank classes whose pictures are fitted on and that have spurious features."""
        audited = {
            index for label, index in enumerate(self.fitted.of_label.tolist()) if label not in self.fitted.skipped
        }
        return sorted(index for index in audited if self.bank.spurious(index))


def open_names(store: Store, settings: Settings, request: MitigationRequest) -> MitigationSubjects:
    """Look up what a request names; nothing is loaded.

    Raises:
        NotFound: there is no such bank, data set or classifier.
        Invalid: their classes do not meet, or none of them has spurious features.
    """
    bank, classifier = find_bank(settings, request.bank), get_classifier(store, request.classifier)

    def classes_of(dataset: str) -> ClassMap:
        names = get_dataset(store, dataset).class_names(bank.classes)
        return map_classes(bank, names, classifier.spec.classes, request.class_map, request.classes)

    fitted, judged = classes_of(request.dataset), classes_of(request.judged)
    labels = get_pictures(store, request.dataset).labels
    first, second = split(labels, 1.0 if request.held_out else request.fit_share, request.seed)
    judged_rows = second
    if request.held_out:
        judged_rows = np.arange(len(get_pictures(store, request.held_out).labels))
    fitted_rows = first[np.isin(labels[first], wanted_labels(request, fitted))]
    found = MitigationSubjects(bank, classifier, fitted, judged, fitted_rows, judged_rows)
    if not found.changed:
        raise Invalid(
            f"Bank {bank.name!r} knows no spurious feature of the classes that are fitted on, so there is nothing to "
            "mitigate.",
            field="bank",
            remedy="name another bank, or classes that have spurious features",
        )
    if not len(found.fitted_rows) or not len(found.judged_rows):
        raise Invalid(
            f"{len(found.fitted_rows)} pictures are left to fit on and {len(found.judged_rows)} to judge by.",
            field="fit_share",
            remedy="choose a share in the middle, or name a second data set as held_out",
        )
    return found


def check(store: Store, settings: Settings, request: MitigationRequest) -> dict[str, str]:
    """Pin the bank by its digest, once it is known that the classifier can be changed so.

    Raises:
        NotFound, Invalid: as `open_names`; or the classifier has no linear head.
        ClassifierFailed: it cannot be opened any more.
    """
    found = open_names(store, settings, request)
    with (
        store.local_copy(f"blobs/{found.classifier.blob}") as path,
        IsolatedClassifier(path, found.classifier.spec, settings, features=True) as isolated,
    ):
        require_head(isolated)
    return {"bank": found.bank.digest}


def require_head(isolated: IsolatedClassifier) -> LinearHead:
    """The last linear layer of a classifier opened for its features. Raises Invalid where it has none."""
    if isolated.head is None:
        error = isolated.headless or HeadError("the classifier has no linear head")
        raise Invalid(f"{error}.", field="classifier", remedy=error.remedy)
    return isolated.head
