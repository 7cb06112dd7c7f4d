"""From an annotation to a feature bank: its labels, its votes, and how far its masks may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from jobs.annotation import AnnotationRecord, Publication, Row, Title, draft_folder
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_panels import read_classes, read_draft
from jobs.annotation_validation import Validated, bounded, lacking, validated, verdicts
from jobs.annotations import Annotations, require_unpublished
from jobs.bank_publication import publish_bank
from jobs.encoders import weights_of
from jobs.errors import Conflict, Invalid
from jobs.settings import Settings
from jobs.store import file_sha256
from jobs.subjects import find_bank
from models.agreement import decide
from models.bank import WEIGHTS, Bank, Exemplar, Feature, Manifest, Votes
from models.bank_card import Provenance
from models.bank_edit import Kept, relabel
from models.bank_folders import bank_versions
from models.bank_votes import BankVotes, KeptAnswer, pseudonym, read_votes
from models.components import Components
from models.draft import Candidate, Draft, DraftClass
from models.errors import BankError

PUBLISHING_SECONDS = 300.0
"""After which another owner may try, where the one who began was killed."""


class PublishRequest(BaseModel):
    """The bank that is to become of an annotation."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Small letters, digits, - and _.")
    title: Title
    licence: str = Field(min_length=1, max_length=500, description="What others may do with it.")
    labeller: str | None = Field(None, max_length=200, description="Who gave the labels; counted where left out.")
    threshold: int | None = Field(None, ge=1, description="In place of the annotation's own.")
    notes: str | None = Field(
        None, max_length=4000, description="What users of the bank should know, such as what its spurious features are."
    )


@dataclass(frozen=True)
class _Labelled:
    """What people said, as it was when the annotation was closed."""

    votes: Mapping[str, Votes]
    answers: tuple[KeptAnswer, ...]
    annotators: int
    verdicts: Mapping[str, bool]
    rows: Mapping[str, Row]
    validated: Validated | None


def publish(annotations: Annotations, settings: Settings, annotation: str, wanted: PublishRequest) -> Bank:
    """Make a bank of an annotation; from then on it takes no answers.

    Raises:
        Conflict: somebody else publishes it at this moment or has done so; answers are lacking, and how many;
            somebody published a bank of this name meanwhile, or a later version of the one that is labelled again; or
            the bank of this name is of another network.
        Invalid: the threshold is more than the answers per panel.
        BankError: the draft's encoder is not the one whose features were labelled.
    """
    with annotations.log(annotation).alone("publish", seconds=PUBLISHING_SECONDS, wait=0):
        with annotations.reading(annotation) as index:
            before = index.record
            require_unpublished(before)
            _require_threshold(before, wanted.threshold)
            _require_name(settings, wanted.name, read_draft(annotations.store, before.draft))
            _require_answers(index)
        annotations.change(annotation, lambda record: {"state": "closed"}, exact=True)
        published = False
        try:
            with annotations.reading(annotation) as index:
                _require_answers(index)
                found = _collect(index)
            bank = _write(annotations, settings, before, found, wanted)
            result = Publication(name=bank.name, version=bank.manifest.version or 1, digest=bank.digest)
            annotations.change(annotation, lambda record: {"state": "published", "published": result.model_dump()})
            published = True
        finally:
            if not published:
                annotations.change(annotation, lambda record: {"state": before.state})
    return bank


def _require_threshold(record: AnnotationRecord, threshold: int | None) -> None:
    if threshold is not None and threshold > record.answers_per_panel:
        raise Invalid(
            f"threshold {threshold} is more than the {record.answers_per_panel} answers per panel.", field="threshold"
        )


def _require_name(settings: Settings, name: str, draft: Draft) -> None:
    """Raises `Conflict` where a bank of this name is of another network: a next version must be one of the same."""
    present = bank_versions(name, settings.banks_dir)
    if present and Bank.load(present[max(present)]).manifest.files[WEIGHTS] != draft.weights_digest:
        raise Conflict(
            f"There is a bank {name!r} of another network.", field="name", remedy="Publish under another name."
        )


def _require_answers(index: AnnotationIndex) -> None:
    """Raises `Conflict` where too few people answered to publish."""
    short = {
        panel: index.record.answers_per_panel - index.given(panel)
        for panel in index.panels
        if index.given(panel) < index.record.answers_per_panel
    }
    if short:
        raise Conflict(
            f"{sum(short.values()):,} answers are lacking, on {len(short):,} of {len(index.panels):,} panels.",
            field="annotation",
            remedy="Invite more people, or lower answers_per_panel.",
        )
    if index.record.stage == "validation":
        missing = lacking(index)
        if index.rows is None or missing:
            detail = f"{sum(missing.values()):,} answers" if index.rows is not None else "All answers"
            raise Conflict(
                f"{detail} of the second round are lacking.", field="annotation", remedy="Wait for its annotators."
            )


def _collect(index: AnnotationIndex) -> _Labelled:
    return _Labelled(
        votes={panel: index.votes(panel) for panel in index.panels},
        answers=tuple(
            KeptAnswer(
                class_index=panel.class_index,
                feature_index=panel.feature_index,
                annotator=pseudonym(answer.annotator),
                kind=answer.kind,
                confidence=answer.confidence,
                reason=answer.reason,
                seconds=answer.seconds,
            )
            for panel in index.panels.values()
            for answer in index.answers[panel.id].values()
        ),
        annotators=sum(bool(mine) for mine in index.mine.values()),
        verdicts=verdicts(index),
        rows=dict(index.rows or {}),
        validated=validated(index),
    )


def _write(
    annotations: Annotations, settings: Settings, record: AnnotationRecord, found: _Labelled, wanted: PublishRequest
) -> Bank:
    if record.bank is not None:
        return _write_again(settings, record, found, wanted)
    store = annotations.store
    draft = read_draft(store, record.draft)
    indices = sorted({int(panel.split("-")[0]) for panel in found.votes})
    classes = read_classes(store, draft, indices)
    threshold = wanted.threshold or record.threshold
    candidates = [one for each in classes for one in each.candidates if _panel(one) in found.votes]
    counted = found.validated
    provenance = Provenance(
        threshold=threshold,
        of=record.answers_per_panel,
        draft=draft.id,
        dataset=draft.dataset,
        encoder=f"sha256:{draft.weights_digest}",
        validated=counted.model_dump(exclude={"rejected"}) if counted else None,
    )
    with ExitStack() as stack:
        weights = stack.enter_context(weights_of(store, settings, draft.encoder_id))
        if file_sha256(weights) != draft.weights_digest:
            raise BankError(
                "the draft's encoder has other weights now than those whose features were labelled",
                field="annotation",
                remedy="bring the encoder back, or discover and label anew",
            )
        components = None
        if any(one.component is not None for one in candidates):
            path = stack.enter_context(store.local_copy(f"{draft_folder(draft.id)}/components.safetensors"))
            components = Components.load(path)
        manifest = Manifest(
            name=wanted.name,
            title=wanted.title,
            licence=wanted.licence,
            labeller=wanted.labeller or f"{found.annotators} annotators, {record.answers_per_panel} a feature",
            grouping=draft.grouping,
            classes=draft.encoder.classes,
            backbone=draft.encoder.backbone,
            components=0 if components is None else len(components.directions),
            features=tuple(_feature(one, found, threshold, record.answers_per_panel) for one in candidates),
            exemplars=tuple(exemplar for one in candidates for exemplar in _exemplars(one)),
            card=_card(draft, record, classes, wanted.notes),
        )
        return publish_bank(
            settings,
            manifest,
            {WEIGHTS: weights},
            provenance,
            votes=BankVotes(answers=found.answers),
            components=components,
        )


def _write_again(settings: Settings, record: AnnotationRecord, found: _Labelled, wanted: PublishRequest) -> Bank:
    """The bank that the session was drafted from, with the rows of its panels labelled again."""
    before = find_bank(settings, str(record.bank))
    kept = Kept(before, read_votes(before))
    manifest, threshold = before.manifest, wanted.threshold or record.threshold
    statistics = {}
    for row, feature in kept.rows.items():
        panel = f"{row[0]}-{row[1]}"
        if panel in found.votes:
            activations = [exemplar.activation for exemplar in before.exemplars(*row)]
            bounds = found.rows.get(panel), found.verdicts.get(panel)
            statistics[row] = bounded(feature.statistics, *bounds, activations)
    edited = relabel(kept, found.answers, statistics, threshold, record.answers_per_panel)
    counted = f"{found.annotators} annotators, {record.answers_per_panel} a feature"
    stated = {
        "name": wanted.name,
        "title": wanted.title,
        "licence": wanted.licence,
        "labeller": wanted.labeller
        or (counted if len(statistics) == len(manifest.features) else f"{manifest.labeller}; {counted}"),
        "card": manifest.card | ({"notes": wanted.notes} if wanted.notes else {}),
    }
    provenance = edited.provenance.model_copy(
        update={"draft": record.draft}
        | ({"validated": found.validated.model_dump(exclude={"rejected"})} if found.validated else {})
    )
    return publish_bank(
        settings,
        edited.manifest.model_copy(update=stated),
        edited.files,
        provenance,
        votes=edited.votes,
        parent=before.digest if wanted.name == before.name else None,
    )


def _feature(one: Candidate, found: _Labelled, threshold: int, of: int) -> Feature:
    panel = _panel(one)
    label, kind = decide(found.votes[panel], threshold, of)
    activations = [exemplar.activation for exemplar in one.exemplars]
    return Feature(
        class_index=one.class_index,
        feature_index=one.feature_index,
        component=one.component,
        rank=one.rank,
        importance=one.importance,
        label=label,
        kind=kind,
        votes=found.votes[panel],
        statistics=bounded(one.statistics, found.rows.get(panel), found.verdicts.get(panel), activations),
    )


def _exemplars(one: Candidate) -> list[Exemplar]:
    """The panel's pictures by name: whether they may be passed on is not known here."""
    return [
        Exemplar(
            class_index=one.class_index,
            feature_index=one.feature_index,
            sample=exemplar.sample,
            activation=exemplar.activation,
        )
        for exemplar in one.exemplars
    ]


def _card(draft: Draft, record: AnnotationRecord, classes: list[DraftClass], notes: str | None) -> dict[str, object]:
    encoder = draft.encoder
    return {
        **({"notes": notes} if notes else {}),
        "encoder": {"name": encoder.name, "licence": encoder.licence, "card": encoder.card},
        "annotation": {"title": record.title, "classes": len(classes)},
        "discovery": {
            "pictures": draft.pictures,
            "accuracy": draft.accuracy,
            "grouping": draft.grouping,
            "code_version": draft.code_version,
        },
    }


def _panel(one: Candidate) -> str:
    return f"{one.class_index}-{one.feature_index}"
