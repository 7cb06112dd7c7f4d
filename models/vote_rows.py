"""Answers as rows of a CSV file, in the columns of Salient ImageNet's release: its tools read ours, and we read theirs.

Source of the schema: Singla & Feizi, Salient ImageNet (ICLR 2022), file `discover_spurious_features.csv`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from models.agreement import PLACES, Place, tally
from models.bank import Votes
from models.errors import LabelsError

COLUMNS = (
    "WorkerId",
    "Input.wordnet_id",
    "Input.class_index",
    "Input.feature_index",
    "Input.feature_rank",
    "Answer.main",
    "Answer.confidence",
    "Answer.reasons",
)
RELEASED_IDS = re.compile(r"[A-Za-z0-9]{1,64}")
"""What annotators and classes are called in the release."""

LONGEST_NAME = 500


@dataclass(frozen=True)
class Answer:
    """One annotator's answer.

    Attributes:
        confidence: 1 (not at all) to 5 (completely), None where it is missing.
        reason: in the annotator's words.
    """

    worker: str
    place: Place
    confidence: float | None
    reason: str = ""


@dataclass(frozen=True)
class Pair:
    """A feature of a class with its answers.

    Attributes:
        wordnet_id: what the class is called, in the release e.g. "n02051845": the name of its folder in ImageNet.
        rank: by importance within the class, from 1.
    """

    wordnet_id: str
    class_index: int
    feature_index: int
    rank: int
    answers: tuple[Answer, ...]

    @property
    def votes(self) -> Votes:
        """How many annotators gave each answer."""
        return tally(answer.place for answer in self.answers)


@dataclass(frozen=True)
class Limits:
    """What a file of answers may hold.

    Attributes:
        classes, channels: indices must lie below these. ranks: ranks reach up to this.
        ids: what annotators and classes may be called; None for any text of 1 to 500 characters.
    """

    classes: int
    channels: int
    ranks: int
    ids: re.Pattern[str] | None = None


@dataclass
class PairsRead:
    """What a file of answers holds.

    Attributes:
        pairs: by class and feature, with all their answers, in the order in which they first appear.
        lines: on which each pair first appears, from 1.
        warnings: confidences that cannot be read: they decide nothing.
    """

    pairs: dict[tuple[int, int], Pair]
    lines: dict[tuple[int, int], int]
    warnings: list[str]


def read_pairs(file: IO[str], name: str, limits: Limits, listed_warnings: int = 20) -> PairsRead:
    """Read the answers of a file, row by row.

    Args:
        file: opened with `newline=""`.
        name: of the file, for messages.
        limits: what it may hold.
        listed_warnings: most warnings kept.

    Raises:
        LabelsError: a column is missing, a value is not what its column holds, an annotator answers twice, or a pair
            has two ranks or class names; the message names line and column.
    """
    read = PairsRead({}, {}, [])
    found: dict[tuple[int, int], list[Answer]] = {}
    workers: set[tuple[int, int, str]] = set()
    for line, row in _rows(file, name):
        pair, answer = _pair(line, row, limits, read.warnings, listed_warnings)
        key = pair.class_index, pair.feature_index
        known = read.pairs.setdefault(key, pair)
        read.lines.setdefault(key, line)
        _check_same(line, pair, known, read.lines[key])
        if (*key, answer.worker) in workers:
            raise LabelsError(
                f"line {line}, column WorkerId: {answer.worker[:80]} answers twice on class {pair.class_index}, "
                f"feature {pair.feature_index}",
                field="file",
            )
        workers.add((*key, answer.worker))
        found.setdefault(key, []).append(answer)
    if not found:
        raise LabelsError(f"{name!r} holds no answers", field="file")
    for key, answers in found.items():
        pair = read.pairs[key]
        read.pairs[key] = Pair(pair.wordnet_id, pair.class_index, pair.feature_index, pair.rank, tuple(answers))
    return read


def write_pairs(pairs: Iterable[Pair]) -> str:
    """The file: a row per answer, in the order given."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in pairs:
        for answer in pair.answers:
            confidence = "" if answer.confidence is None else f"{answer.confidence:.1f}"
            indices = (pair.class_index, pair.feature_index, pair.rank)
            writer.writerow([answer.worker, pair.wordnet_id, *indices, answer.place, confidence, answer.reason])
    return stream.getvalue()


def _rows(file: IO[str], name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line on which it begins, values by column) of each row; quoted commas and line breaks are part of values."""
    try:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        _check_header(name, header)
        begins = reader.line_num + 1
        for values in reader:
            if values:  # csv gives an empty row for an empty line, such as one at the end
                if len(values) != len(header):
                    raise LabelsError(
                        f"line {begins} has {len(values)} values, the header names {len(header)} columns", field="file"
                    )
                yield begins, dict(zip(header, values, strict=True))
            begins = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise LabelsError(f"{name!r} is not a CSV file in UTF-8: {error}", field="file") from error


def _check_header(name: str, header: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in header]
    repeated = [column for column, count in Counter(header).items() if count > 1]
    if missing or repeated:
        fault = f"has no column {missing[0]!r}" if missing else f"has the column {repeated[0][:40]!r} twice"
        raise LabelsError(
            f"{name!r} {fault}",
            field="file",
            remedy=f"give the columns of discover_spurious_features.csv as released: {', '.join(COLUMNS)}",
        )


def _pair(line: int, row: dict[str, str], limits: Limits, warnings: list[str], listed: int) -> tuple[Pair, Answer]:
    """The pair that one row is about, still without answers, and that row's answer."""
    place = row["Answer.main"]
    if place not in PLACES:
        raise _wrong(line, "Answer.main", place, f"one of {', '.join(PLACES)}")
    for column in ("WorkerId", "Input.wordnet_id"):
        if limits.ids is None:
            if not row[column].strip() or len(row[column]) > LONGEST_NAME:
                raise _wrong(line, column, row[column], f"a name of 1 to {LONGEST_NAME} characters")
        elif not limits.ids.fullmatch(row[column]):
            raise _wrong(line, column, row[column], "an id of letters and digits")
    pair = Pair(
        wordnet_id=row["Input.wordnet_id"],
        class_index=_integer(line, row, "Input.class_index", 0, limits.classes - 1),
        feature_index=_integer(line, row, "Input.feature_index", 0, limits.channels - 1),
        rank=_integer(line, row, "Input.feature_rank", 1, limits.ranks),
        answers=(),
    )
    confidence = _confidence(line, row, warnings, listed)
    return pair, Answer(row["WorkerId"], place, confidence, row["Answer.reasons"])


def _integer(line: int, row: dict[str, str], column: str, lowest: int, highest: int) -> int:
    text = row[column]
    if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
        raise _wrong(line, column, text, f"a whole number from {lowest} to {highest}")
    return int(text)


def _confidence(line: int, row: dict[str, str], warnings: list[str], listed: int) -> float | None:
    """The confidence decides nothing, so a bad one is only listed."""
    text = row["Answer.confidence"]
    if re.fullmatch(r"[1-5](\.0*)?", text):
        return float(text)
    if len(warnings) < listed:
        warnings.append(f"line {line}, column Answer.confidence: {text[:40]!r} is not a number from 1 to 5")
    return None


def _check_same(line: int, pair: Pair, known: Pair, first: int) -> None:
    where = f"class {pair.class_index}, feature {pair.feature_index}"
    for column, here, there in (
        ("Input.feature_rank", pair.rank, known.rank),
        ("Input.wordnet_id", pair.wordnet_id, known.wordnet_id),
    ):
        if here != there:
            raise LabelsError(
                f"line {line}, column {column}: {where} has {here}, on line {first} {there}", field="file"
            )


def _wrong(line: int, column: str, value: str, expected: str) -> LabelsError:
    return LabelsError(f"line {line}, column {column}: {value[:40]!r} is not {expected}", field="file")
