"""What the answers of an annotation come to: labels under a threshold, agreement, and who agrees with whom."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from typing import Literal, get_args

from pydantic import BaseModel, Field

from jobs.annotation import AnnotationRecord, Answer
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_validation import Validated, validated
from models.agreement import Place, core_or_not, decide, fleiss_kappa, is_split, total, vote_table
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
    kinds: Counter[Kind] = Counter()
    for votes, panels in index.tally().alike():
        kinds[_decide(votes, least, record)[1]] += len(panels)
    table = vote_table(votes for votes, panels in index.tally().alike() for _ in panels)
    lacking = index.lacking()
    return Results(
        threshold=least,
        kappa=_short(fleiss_kappa(table)),
        kappa_binary=_short(fleiss_kappa(core_or_not(table))),
        core=kinds["main_object"],
        spurious=kinds.total() - kinds["main_object"],
        kinds={kind: kinds[kind] for kind in get_args(Kind)},
        open=len(lacking),
        lacking=sum(lacking.values()),
        split=sorted(_split(index, least), key=index.place.__getitem__),
        changes=sorted(_changed(index, least), key=index.place.__getitem__),
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
    shown: Container[str] = {
        "all": lambda: index.panels,
        "open": index.lacking,
        "split": lambda: _split(index, least),
        "changed": lambda: _changed(index, least),
    }[which]()
    for place in range(start, len(index.order)):
        panel = index.panels[index.order[place]]
        if panel.id not in shown:
            continue
        votes = index.votes(panel.id)
        label, kind = _decide(votes, least, record) if total(votes) else (None, None)
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
                split=is_split(votes, least, record.answers_per_panel),
                wanted=record.wanted(panel.id),
                panel_href=f"/v1/discoveries/{record.draft}/draft/{panel.file}",
                answers=[AnswerShown(**answer.model_dump(mode="json")) for answer in answers],
            ),
        )


def _split(index: AnnotationIndex, threshold: int) -> set[str]:
    """The panels that are split under a threshold."""
    each = index.record.answers_per_panel
    return {one for votes, panels in index.tally().alike() if is_split(votes, threshold, each) for one in panels}


def _changed(index: AnnotationIndex, threshold: int) -> set[str]:
    """The panels whose label under a threshold is not that under the annotation's own."""
    record = index.record
    return {
        one
        for votes, panels in index.tally().alike()
        if _decide(votes, threshold, record)[0] != _decide(votes, record.threshold, record)[0]
        for one in panels
    }


def _decide(votes: Votes, threshold: int, record: AnnotationRecord) -> tuple[Label, Kind]:
    return decide(votes, threshold, record.answers_per_panel)


def _annotators(index: AnnotationIndex) -> list[AnnotatorResult]:
    agreement = index.tally().agreement()
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
