"""The answers of an annotation as files: CSV in the columns of Salient ImageNet's release, or JSON with everything."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.annotation import LONGEST_NAME, LONGEST_REASON, PANEL, Answer, Import, ImportedAnswer, annotator_id
from jobs.annotation_index import AnnotationIndex
from jobs.annotations import Annotations
from jobs.errors import Invalid
from models.errors import LabelsError
from models.vote_rows import COLUMNS, RELEASED_IDS, Limits, Pair, PairsRead, read_pairs, write_pairs
from models.vote_rows import Answer as RowAnswer

CSV, JSON = "text/csv", "application/json"
FEATURES = 10**6
MOST_ANSWERS = 2_000_000


class PanelVotes(BaseModel):
    """One answer of the JSON file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    panel: str = Field(pattern=PANEL.pattern)
    class_name: str
    rank: int = Field(ge=1)
    answer: Answer


class VotesFile(BaseModel):
    """The whole of the JSON file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    draft: str = Field(description="Whose candidates were labelled: answers go back into annotations of that alone.")
    answers_per_panel: int
    threshold: int
    answers: tuple[PanelVotes, ...] = Field(max_length=MOST_ANSWERS)


class Imported(BaseModel):
    """What an import took in."""

    answers: int = Field(description="In the file.")
    new: int = Field(description="Of them, those that were not there already.")
    panels: int = Field(description="That they are about.")
    annotators: int
    warnings: list[str] = []


def export_json(index: AnnotationIndex) -> bytes:
    """All answers with everything that is known of them."""
    record = index.record
    votes = VotesFile(
        draft=record.draft,
        answers_per_panel=record.answers_per_panel,
        threshold=record.threshold,
        answers=tuple(
            PanelVotes(panel=panel.id, class_name=index.classes[panel.class_index].name, rank=panel.rank, answer=answer)
            for panel in index.panels.values()
            for answer in _sorted(index.answers.get(panel.id, {}))
        ),
    )
    return (votes.model_dump_json(indent=1) + "\n").encode()


def export_csv(index: AnnotationIndex) -> bytes:
    """All answers in the released columns; `Input.wordnet_id` holds the class's name, whatever that is.

    Annotators whose names are not the letters and digits of the release appear by their ids.
    """
    pairs = (
        Pair(
            index.classes[panel.class_index].name,
            panel.class_index,
            panel.feature_index,
            panel.rank,
            tuple(sorted(map(_row, index.answers.get(panel.id, {}).values()), key=lambda row: row.worker)),
        )
        for panel in index.panels.values()
    )
    return write_pairs(pairs).encode()


def import_votes(annotations: Annotations, annotation: str, content: bytes, media_type: str) -> Imported:
    """Take in the answers of a file: all of them or, where one is wrong, none.

    Args:
        annotations: where the annotation is.
        annotation: its id; its draft must be the one whose candidates the file is about.
        content: of the file.
        media_type: `text/csv` or `application/json`.

    Raises:
        LabelsError: the CSV is damaged, or a row is not about a panel of this annotation; with line and column.
        Invalid: the same of JSON; or an annotator has answered otherwise here. Conflict: it takes no answers.
    """
    with annotations.reading(annotation) as index:
        warnings: list[str] = []
        given = _from_csv(index, content, warnings) if media_type == CSV else _from_json(index, content)
        new = [one for one in given if _is_new(index, one)]
        _require_room(index, new)
    if new:
        kept = Import(answers=tuple(new)).model_dump_json().encode()
        annotations.add_import(annotation, hashlib.sha256(kept).hexdigest()[:32], kept)
    return Imported(
        answers=len(given),
        new=len(new),
        panels=len({one.panel for one in given}),
        annotators=len({one.answer.annotator for one in given}),
        warnings=warnings,
    )


def _from_csv(index: AnnotationIndex, content: bytes, warnings: list[str]) -> list[ImportedAnswer]:
    limits = Limits(classes=FEATURES, channels=FEATURES, ranks=FEATURES)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    read = read_pairs(text, "the file", limits)
    warnings += read.warnings
    _check_pairs(index, read)
    names = {known.id: known.name for known in index.annotators.values()}
    return [
        ImportedAnswer(panel=f"{pair.class_index}-{pair.feature_index}", answer=_of_row(answer, names, pair))
        for pair in read.pairs.values()
        for answer in pair.answers
    ]


def _check_pairs(index: AnnotationIndex, read: PairsRead) -> None:
    """Every pair must be a panel here, of the same rank and class; WordNet ids stand for classes of other names."""
    wordnet: dict[str, int] = {}
    for key, pair in read.pairs.items():
        line = read.lines[key]
        panel = index.panels.get(f"{pair.class_index}-{pair.feature_index}")
        if panel is None:
            raise _wrong(
                line, 3, f"class {pair.class_index}, feature {pair.feature_index} is no panel of this annotation"
            )
        if panel.rank != pair.rank:
            raise _wrong(line, 4, f"rank {pair.rank}, here the panel has rank {panel.rank}")
        name = index.classes[pair.class_index].name
        is_id = len(pair.wordnet_id) == 9 and pair.wordnet_id[0] == "n" and pair.wordnet_id[1:].isdecimal()
        if pair.wordnet_id != name and not is_id:
            raise _wrong(line, 1, f"{pair.wordnet_id[:80]!r}, here class {pair.class_index} is {name[:80]!r}")
        if is_id and wordnet.setdefault(pair.wordnet_id, pair.class_index) != pair.class_index:
            raise _wrong(line, 1, f"{pair.wordnet_id} is class {wordnet[pair.wordnet_id]} elsewhere")


def _wrong(line: int, column: int, what: str) -> LabelsError:
    return LabelsError(
        f"line {line}, column {COLUMNS[column]}: {what}",
        field="file",
        remedy="Answers go into an annotation of the draft that they were given on; nothing was taken in.",
    )


def _of_row(answer: RowAnswer, names: Mapping[str, str], pair: Pair) -> Answer:
    where = f"class {pair.class_index}, feature {pair.feature_index}"
    if len(answer.reason) > LONGEST_REASON or "\x00" in answer.reason:
        raise LabelsError(
            f"column Answer.reasons: {where} has a reason of more than {LONGEST_REASON} characters", field="file"
        )
    if len(answer.worker) > LONGEST_NAME:
        raise LabelsError(f"column WorkerId: {where} has a name of more than {LONGEST_NAME} characters", field="file")
    return Answer(
        annotator=names.get(answer.worker, answer.worker),
        kind=answer.place,
        confidence=None if answer.confidence is None else round(answer.confidence),
        reason=answer.reason,
    )


def _from_json(index: AnnotationIndex, content: bytes) -> list[ImportedAnswer]:
    try:
        votes = VotesFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise Invalid(f"{where}: {first['msg']}", field=where) from error
    if votes.draft != index.record.draft:
        raise Invalid(
            f"The answers were given on draft {votes.draft[:80]}, this annotation is of {index.record.draft}.",
            field="draft",
            remedy="Answers go into an annotation of the draft that they were given on; nothing was taken in.",
        )
    for number, one in enumerate(votes.answers):
        panel = index.panels.get(one.panel)
        if panel is None or (panel.rank, index.classes[panel.class_index].name) != (one.rank, one.class_name):
            raise Invalid(
                f"answers.{number}: {one.panel} is no panel of this annotation, or of another rank or class.",
                field=f"answers.{number}.panel",
            )
    given = [ImportedAnswer(panel=one.panel, answer=one.answer) for one in votes.answers]
    twice = Counter((one.panel, annotator_id(one.answer.annotator)) for one in given).most_common(1)
    if twice and twice[0][1] > 1:
        raise Invalid(f"Panel {twice[0][0][0]} has two answers of one annotator.", field="answers")
    return given


def _is_new(index: AnnotationIndex, one: ImportedAnswer) -> bool:
    """False for an answer that is there already. Raises `Invalid` for another one of the same annotator."""
    known = index.answers.get(one.panel, {}).get(annotator_id(one.answer.annotator))
    if known is None:
        return True
    if _said(known) != _said(one.answer):
        raise Invalid(
            f"{one.answer.annotator!r} has answered panel {one.panel} otherwise here.",
            field="file",
            remedy="An import replaces no answer; nothing was taken in.",
        )
    return False


def _said(answer: Answer) -> tuple[Any, ...]:
    return answer.kind, answer.confidence, answer.reason


def _require_room(index: AnnotationIndex, new: Iterable[ImportedAnswer]) -> None:
    """A name that stands for two people would make two answers one."""
    spelled: dict[str, str] = {}
    for one in new:
        name = spelled.setdefault(annotator_id(one.answer.annotator), one.answer.annotator)
        if name != one.answer.annotator:
            raise Invalid(
                f"The annotators {name!r} and {one.answer.annotator!r} differ only in their spelling.", field="file"
            )


def _row(answer: Answer) -> RowAnswer:
    known = RELEASED_IDS.fullmatch(answer.annotator) is not None
    worker = answer.annotator if known else annotator_id(answer.annotator)
    return RowAnswer(worker, answer.kind, answer.confidence, answer.reason)


def _sorted(answers: Mapping[str, Answer]) -> list[Answer]:
    return [answers[annotator] for annotator in sorted(answers)]
