"""Which class of the bank a data set's folder and a classifier's output stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

import numpy as np

from jobs.errors import Invalid
from models.bank import Bank
from models.errors import UnknownClassError

NOT_IN_BANK = "class_not_in_bank"
NOT_CHOSEN = "class_not_chosen"
WITHOUT_FEATURES = "class_without_features"
NOT_IN_CLASSIFIER = "class_not_in_classifier"

REASONS = {
    NOT_IN_BANK: "the bank has no class of this name, and the request maps it to none",
    NOT_CHOSEN: "the request names the classes to audit, and this is not among them",
    WITHOUT_FEATURES: "nobody has labelled features of this class in the bank",
    NOT_IN_CLASSIFIER: "no output of the classifier stands for this class",
}


@dataclass(frozen=True)
class ClassMap:
    """The three vocabularies of an audit brought together.

    Attributes:
        of_label: class index in the bank per data-set label, -1 where there is none.
        of_output: class index in the bank per classifier output, -1 where there is none. Several outputs may stand
            for one class (a classifier finer than the bank): any of them is right, their probabilities add up.
        skipped: reason code per data-set label that is not audited.
    """

    of_label: np.ndarray
    of_output: np.ndarray
    skipped: Mapping[int, str]


def map_classes(
    bank: Bank,
    dataset_classes: Sequence[str],
    classifier_classes: Sequence[str],
    named: Mapping[str, str] | None = None,
    chosen: Sequence[str] | None = None,
) -> ClassMap:
    """Match class names: through `named` first, then exactly, then without regard to case.

    Args:
        named: data-set (or classifier) class name -> bank class name or index.
        chosen: bank classes to audit; None for all.

    Raises:
        Invalid: `named` or `chosen` names a class that the bank lacks, or nothing is left to audit.
    """
    targets = {name: known_class(bank, target, "class_map") for name, target in (named or {}).items()}
    wanted = None if chosen is None else {known_class(bank, name, "classes") for name in chosen}
    of_label = np.array([match_class(bank, name, targets) for name in dataset_classes], dtype=np.int32)
    of_output = np.array([match_class(bank, name, targets) for name in classifier_classes], dtype=np.int32)
    outputs, labelled = set(of_output.tolist()), set(bank.labelled_classes)

    def reason(index: int) -> str | None:
        if index < 0:
            return NOT_IN_BANK
        if wanted is not None and index not in wanted:
            return NOT_CHOSEN
        if index not in labelled:
            return WITHOUT_FEATURES
        return None if index in outputs else NOT_IN_CLASSIFIER

    reasons = {label: reason(index) for label, index in enumerate(of_label.tolist())}
    skipped = {label: code for label, code in reasons.items() if code is not None}
    if len(skipped) == len(dataset_classes):
        label, code = next(iter(skipped.items()))
        raise Invalid(
            f"none of the data set's {len(dataset_classes)} classes can be audited with bank {bank.name!r}; "
            f"the first, {dataset_classes[label][:100]!r}: {REASONS[code]}",
            field="class_map",
            remedy="name the bank's class for each class of the data set and of the classifier in class_map",
        )
    return ClassMap(of_label, of_output, skipped)


def check_mapped(named: Mapping[str, str], vocabularies: Iterable[Sequence[str]]) -> None:
    """Find names that are mapped for nothing, as those with a slip of the pen are.

    Args:
        named: as for `map_classes`.
        vocabularies: names of the classes of every data set and classifier that it may be for.

    Raises:
        Invalid: None of them has a class that `named` maps.
    """
    known = set(chain.from_iterable(vocabularies))
    if unknown := [name for name in named if name not in known]:
        alike = get_close_matches(unknown[0], known) or sorted(known)[:5]
        raise Invalid(
            f"neither the data set nor the classifier has a class {unknown[0][:100]!r}",
            field="class_map",
            remedy=f"map names that one of them has, such as {', '.join(own[:60] for own in alike)}",
        )


def known_class(bank: Bank, name: str, field: str) -> int:
    """The index of a class that a request names in `field`. Raises Invalid where the bank has none."""
    try:
        return bank.class_index(name)
    except UnknownClassError as error:
        raise Invalid(str(error), field=field, remedy=error.remedy) from error


def match_name(classes: Sequence[str], name: str) -> int:
    """The index of a name: exactly, else without regard to case where that is one class; -1 where it is none."""
    if name in classes:
        return classes.index(name)
    alike = [index for index, own in enumerate(classes) if own.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else -1


def match_class(bank: Bank, name: str, targets: Mapping[str, int]) -> int:
    """The index of the class that a data set's or a classifier's name stands for, -1 where there is none."""
    return targets[name] if name in targets else match_name(bank.classes, name)
