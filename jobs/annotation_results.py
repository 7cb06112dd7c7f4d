"""What the answers of an annotation come to: labels under a threshold, agreement, and who agrees with whom."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, Field

from jobs.annotation import AnnotationRecord, Answer
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_validation import Validated, validated
from models.agreement import Place, consensus, core_or_not, decide, fleiss_kappa, is_split, total, vote_table
from models.bank import Kind, Label, Votes

Filter = Literal["all", "open", "split", "changed"]


class AnnotatorResult(BaseModel):
    """How one annotator answered."""

    annotator: str
    answers: int
    agreement: float | None = Field(
        description="Share of answers equal to the majority of the others; absent where nothing can be compared."
    )
    compared: int = Field(description="Answers on panels where the others have a majority.")
    median_seconds: float | None = Field(description="Per panel.")


class Results(BaseModel):
    """What all answers of the first round come to, under one threshold."""

    threshold: int
    kappa: float | None = Field(description="Fleiss' kappa of the three kinds; absent where it is not defined.")
    kappa_binary: float | None = Field(description="Fleiss' kappa of core or spurious.")
    core: int = Field(description="Panels labelled core so far.")
    spurious: int
    kinds: dict[Kind, int] = Field(description="Panels by kind; `main_object` are the core ones.")
    open: int = Field(description="Panels that lack answers.")
    lacking: int = Field(description="Answers that they lack.")
    split: list[str] = Field(description="Panels on which people differ and one vote would have turned the label.")
    changes: list[str] = Field(description="Panels whose label differs from that under the annotation's own threshold.")
    annotators: list[AnnotatorResult]
    validated: Validated | None = Field(description="Of the second round; absent before it.")


class AnswerShown(BaseModel):
    """One answer as its owner sees it."""

    annotator: str
    kind: Place
    confidence: int | None = None
    reason: str
    seconds: float | None = None
    at: str | None = None


class PanelResult(BaseModel):
    """One panel and what was said of it."""

    panel: str
    class_index: int
    class_name: str
    feature_index: int
    rank: int
    votes: Votes
    label: Label | None = Field(description="Under the threshold asked for; absent where nobody has answered.")
    kind: Kind | None
    split: bool
    wanted: int = Field(description="Answers wanted on it.")
    panel_href: str
    answers: list[AnswerShown]


def results(index: AnnotationIndex, threshold: int | None = None) -> Results:
    """What the answers come to.

    Args:
        index: of the annotation.
        threshold: in place of the annotation's own.
    """
    record, least = index.record, threshold or index.record.threshold
    votes = {panel: index.votes(panel) for panel in index.panels}
    answered = {panel: found for panel, found in votes.items() if total(found)}
    labels = {panel: _decide(found, least, record) for panel, found in answered.items()}
    own = (
        labels if least == record.threshold else {p: _decide(v, record.threshold, record) for p, v in answered.items()}
    )
    kinds = [kind for _, kind in labels.values()]
    table = vote_table(answered.values())
    lacking = index.lacking()
    return Results(
        threshold=least,
        kappa=_short(fleiss_kappa(table)),
        kappa_binary=_short(fleiss_kappa(core_or_not(table))),
        core=kinds.count("main_object"),
        spurious=len(kinds) - kinds.count("main_object"),
        kinds={kind: kinds.count(kind) for kind in ("main_object", "background", "separate_object", "ambiguous")},
        open=len(lacking),
        lacking=sum(lacking.values()),
        split=[panel for panel, found in answered.items() if is_split(found, least, record.answers_per_panel)],
        changes=[panel for panel in labels if labels[panel][0] != own[panel][0]],
        annotators=_annotators(index),
        validated=validated(index),
    )


def panel_results(
    index: AnnotationIndex, which: Filter, threshold: int | None, start: int
) -> Iterator[tuple[int, PanelResult]]:
    """Panels in their order with their places, from a place on.

    Args:
        index: of the annotation.
        which: all; or those that lack answers, are split, or would have another label under `threshold`.
        threshold: in place of the annotation's own.
        start: place from which on.
    """
    record, least = index.record, threshold or index.record.threshold
    for place, panel in enumerate(index.panels.values()):
        if place < start:
            continue
        votes = index.votes(panel.id)
        label, kind = _decide(votes, least, record) if total(votes) else (None, None)
        split = is_split(votes, least, record.answers_per_panel)
        changed = label is not None and label != _decide(votes, record.threshold, record)[0]
        is_open = total(votes) < record.wanted(panel.id)
        if not {"all": True, "open": is_open, "split": split, "changed": changed}[which]:
            continue
        answers = sorted(index.answers.get(panel.id, {}).values(), key=lambda answer: answer.annotator)
        yield (
            place,
            PanelResult(
                panel=panel.id,
                class_index=panel.class_index,
                class_name=index.classes[panel.class_index].name,
                feature_index=panel.feature_index,
                rank=panel.rank,
                votes=votes,
                label=label,
                kind=kind,
                split=split,
                wanted=record.wanted(panel.id),
                panel_href=f"/v1/discoveries/{record.draft}/draft/{panel.file}",
                answers=[AnswerShown(**answer.model_dump(mode="json")) for answer in answers],
            ),
        )


def _decide(votes: Votes, threshold: int, record: AnnotationRecord) -> tuple[Label, Kind]:
    return decide(votes, threshold, record.answers_per_panel)


def _annotators(index: AnnotationIndex) -> list[AnnotatorResult]:
    agreement = consensus(
        {annotator: answer.kind for annotator, answer in given.items()} for given in index.answers.values()
    )
    found = []
    for annotator in sorted(index.annotators.values(), key=lambda one: one.name):
        mine: Mapping[str, Answer] = index.mine.get(annotator.id, {})
        seconds = [answer.seconds for answer in mine.values() if answer.seconds is not None]
        with_others = agreement.get(annotator.id)
        share = with_others.share if with_others else None
        found.append(
            AnnotatorResult(
                annotator=annotator.name,
                answers=len(mine),
                agreement=None if share is None else round(share, 4),
                compared=with_others.compared if with_others else 0,
                median_seconds=round(statistics.median(seconds), 2) if seconds else None,
            )
        )
    return found


def _short(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
