"""Brings together what an audit request names: bank, backbone, classifier and the classes they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Own, Subjects
from jobs.class_map import ClassMap, check_mapped, map_classes
from jobs.classifiers import get_classifier
from jobs.datasets import get_dataset, get_pictures
from jobs.errors import Invalid, NotFound
from jobs.isolation import IsolatedClassifier
from jobs.settings import Settings
from jobs.store import Store
from models.backbone import Backbone
from models.bank import Bank
from models.bank_folders import find_banks, locate_bank

CORRECTED = (
    "SpuFix stands behind the classifier's linear head, so its scores are no longer sums over its own features: audit "
    "the classifier it was made from"
)
"""Why there are no own features to measure."""


def find_bank(settings: Settings, name: str) -> Bank:
    """A bank by its name (the latest version), `name@version` or its digest (`sha256:...`).

    Raises:
        NotFound: There is no such bank.
        BankError: It is damaged.
    """
    path = locate_bank(name, settings.banks_dir)
    if path is None:
        known = ", ".join(sorted(find_banks(settings.banks_dir))) or "(none)"
        raise NotFound(
            f"There is no bank {name[:80]!r}.", field="bank", remedy=f"Use one of {known}, NAME@VERSION, or a digest."
        )
    return Bank.load(path)


def check_subjects(store: Store, settings: Settings, request: AuditRequest) -> Bank:
    """Find out whether the request can be audited, before it is queued.

    Returns:
        The bank it names.

    Raises:
        NotFound: There is no such bank, data set or classifier.
        Invalid: Their classes do not meet, or the map names one that none of them has.
    """
    bank = find_bank(settings, request.bank)
    dataset = get_dataset(store, request.dataset)
    classifier = get_classifier(store, request.classifier)
    folders, outputs = dataset.class_names(bank.classes), classifier.spec.classes
    map_classes(bank, folders, outputs, request.class_map, request.classes)
    second = _second_folders(store, bank, request)
    _second_maps(bank, second, outputs, request)
    check_mapped(request.class_map or {}, [folders, outputs, *second.values()])
    return bank


def _second_folders(store: Store, bank: Bank, request: AuditRequest) -> Mapping[str, Sequence[str]]:
    """Class names of second data sets, by the measurement that asks for one. Raises as `check_subjects`."""
    found = {}
    for name, identifier in request.further().items():
        try:
            found[name] = get_dataset(store, identifier).class_names(bank.classes)
        except NotFound as error:
            remedy = "Upload it with `cuecheck dataset upload`, and name its id."
            raise NotFound(error.message, field=f"measurements.{name}.dataset", remedy=remedy) from error
    return found


def _second_maps(
    bank: Bank, second: Mapping[str, Sequence[str]], outputs: Sequence[str], request: AuditRequest
) -> dict[str, ClassMap]:
    """Their vocabularies. Raises as `check_subjects`."""
    found = {}
    for name, folders in second.items():
        try:
            found[name] = map_classes(bank, folders, outputs, request.class_map, request.classes)
        except Invalid as error:
            field = f"measurements.{name}.dataset"
            raise Invalid(f"The second data set: {error.message}", field=field, remedy=error.remedy) from error
    return found


def load_backbone(bank: Bank, settings: Settings, *, components: bool = True) -> Backbone:
    """The bank's network as the settings have it run, with or without its labelled components as further features."""
    return bank.backbone(
        components=components,
        device=settings.device,
        precision=settings.precision,
        runtime=settings.runtime,
        compile=settings.compile,
        threads=settings.threads,
        cache=settings.data_dir / "cache",
    )


@contextmanager
def open_subjects(
    store: Store, settings: Settings, request: AuditRequest, *, features: bool = False
) -> Iterator[Subjects]:
    """Load everything; the classifier runs in a process of its own, which ends with the block.

    features: whether the classifier's own are wanted, SpuFix behind its head or not, though no measurement of the
        request needs them.
    """
    bank = find_bank(settings, request.bank)
    dataset = get_dataset(store, request.dataset)
    classifier = get_classifier(store, request.classifier)
    classes = map_classes(
        bank, dataset.class_names(bank.classes), classifier.spec.classes, request.class_map, request.classes
    )
    backbone = load_backbone(bank, settings)
    wanted = features or any(measurement.own_features for measurement, _ in request.chosen())
    with (
        store.local_copy(f"blobs/{classifier.blob}") as path,
        IsolatedClassifier(path, classifier.spec, settings, batch_size=request.batch_size, features=wanted) as isolated,
    ):
        yield Subjects(
            bank=bank,
            backbone=backbone,
            predict=isolated.predict,
            preprocessing=classifier.spec.preprocessing,
            classes=classes,
            pictures=get_pictures(store, dataset.id),
            provider=isolated.provider,
            further=_second_maps(bank, _second_folders(store, bank, request), classifier.spec.classes, request),
            own=CORRECTED if isolated.spufix and not features else own_of(isolated),
        )


def own_of(isolated: IsolatedClassifier) -> Own | str | None:
    """A classifier with its features, or why it has none, where they were asked for."""
    if isolated.head is not None:
        return Own(isolated.look, isolated.head)
    return None if isolated.headless is None else str(isolated.headless)
