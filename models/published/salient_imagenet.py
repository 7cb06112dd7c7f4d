"""The answers of Salient ImageNet's annotators, read from the user's own copy of the released CSV.

Source: Singla & Feizi, Salient ImageNet (ICLR 2022), file `discover_spurious_features.csv`. Five annotators looked at
each of the five most important features of each ImageNet class and said where its heat maps lie. The licence of the
file forbids passing it on: it is read where the user keeps it, and nothing of it is written but votes.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
CLASSES, CHANNELS = 1000, 2048
"""Of the ResNet-50 whose features were labelled; indices mean something for that checkpoint only."""

ANSWERS_PER_PAIR = 5
RANKS = 5
MAX_BYTES = 64 * 2**20
"""The released file has 2.3 MB."""

LISTED_WARNINGS = 20


@dataclass(frozen=True)
class Answer:
    """One annotator's answer; `confidence` is 1 (not at all) to 5 (completely), None where it is missing."""

    worker: str
    place: Place
    confidence: float | None


@dataclass(frozen=True)
class Pair:
    """A feature of a class with its five answers.

    Attributes:
        wordnet_id: of the class, e.g. "n02051845": the name of its folder in ImageNet.
        rank: by importance within the class, 1 to 5.
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
class Release:
    """What a file holds: its pairs by class and rank, and what a user of them should know."""

    pairs: tuple[Pair, ...]
    warnings: tuple[str, ...]


def read_release(path: str | os.PathLike[str], classes: int = CLASSES, channels: int = CHANNELS) -> Release:
    """Read and check the whole file.

    Args:
        classes, channels: indices must lie below these.

    Raises:
        LabelsError: a column is missing, a value is not what its column holds, an annotator answers twice, a class
            has two names, or a pair does not have five answers and one rank; the message names line and column.
    """
    path = Path(path)
    found: dict[tuple[int, int], Pair] = {}
    first_lines: dict[tuple[int, int], int] = {}
    warnings: list[str] = []
    for line, row in _rows(path):
        pair = _pair(line, row, classes, channels, warnings)
        key = pair.class_index, pair.feature_index
        known = found.get(key)
        if known is not None:
            _check_same(line, pair, known, first_lines[key])
            pair = replace(known, answers=(*known.answers, *pair.answers))
        else:
            first_lines[key] = line
        found[key] = pair
    if not found:
        raise LabelsError(f"{path.name!r} holds no answers", field="file")
    pairs = sorted(found.values(), key=lambda pair: (pair.class_index, pair.rank))
    _check_pairs(pairs, first_lines)
    short = [index for index, count in Counter(pair.class_index for pair in pairs).items() if count < RANKS]
    if short:
        warnings.append(f"{len(short):,} classes have fewer than {RANKS} features, the first is class {short[0]}")
    return Release(tuple(pairs), tuple(warnings))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line on which it begins, values by column) of each row; quoted commas and line breaks are part of values."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelsError(f"{path.name!r} has {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}", field="file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(path, header)
            begins = reader.line_num + 1
            for values in reader:
                if values:  # csv gives an empty row for an empty line, such as one at the end
                    if len(values) != len(header):
                        raise LabelsError(
                            f"line {begins} has {len(values)} values, the header names {len(header)} columns",
                            field="file",
                        )
                    yield begins, dict(zip(header, values, strict=True))
                begins = reader.line_num + 1
    except OSError as error:
        raise LabelsError(f"{path.name!r} cannot be read: {error.strerror}", field="file") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise LabelsError(f"{path.name!r} is not a CSV file in UTF-8: {error}", field="file") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in header]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if missing or repeated:
        fault = f"has no column {missing[0]!r}" if missing else f"has the column {repeated[0][:40]!r} twice"
        raise LabelsError(
            f"{path.name!r} {fault}",
            field="file",
            remedy=f"give discover_spurious_features.csv as released; its columns are {', '.join(COLUMNS)}",
        )


def _pair(line: int, row: dict[str, str], classes: int, channels: int, warnings: list[str]) -> Pair:
    """The pair that one row is about, with that row's answer."""
    place = row["Answer.main"]
    if place not in PLACES:
        raise _wrong(line, "Answer.main", place, f"one of {', '.join(PLACES)}")
    for column in ("WorkerId", "Input.wordnet_id"):
        if not re.fullmatch(r"[A-Za-z0-9]{1,64}", row[column]):
            raise _wrong(line, column, row[column], "an id of letters and digits")
    return Pair(
        wordnet_id=row["Input.wordnet_id"],
        class_index=_integer(line, row, "Input.class_index", 0, classes - 1),
        feature_index=_integer(line, row, "Input.feature_index", 0, channels - 1),
        rank=_integer(line, row, "Input.feature_rank", 1, RANKS),
        answers=(Answer(row["WorkerId"], place, _confidence(line, row, warnings)),),
    )


def _integer(line: int, row: dict[str, str], column: str, lowest: int, highest: int) -> int:
    text = row[column]
    if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
        raise _wrong(line, column, text, f"a whole number from {lowest} to {highest}")
    return int(text)


def _confidence(line: int, row: dict[str, str], warnings: list[str]) -> float | None:
    """The confidence decides nothing, so a bad one is only listed."""
    text = row["Answer.confidence"]
    if re.fullmatch(r"[1-5](\.0*)?", text):
        return float(text)
    if len(warnings) < LISTED_WARNINGS:
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
    worker = pair.answers[0].worker
    if any(answer.worker == worker for answer in known.answers):
        raise LabelsError(f"line {line}, column WorkerId: {worker} answers twice on {where}", field="file")


def _check_pairs(pairs: Sequence[Pair], lines: dict[tuple[int, int], int]) -> None:
    """Five answers a pair, one name a class, one class a name, one feature a rank."""
    names: dict[int, str] = {}
    classes: dict[str, int] = {}
    ranks: set[tuple[int, int]] = set()
    for pair in pairs:
        line = lines[pair.class_index, pair.feature_index]
        where = f"class {pair.class_index}, feature {pair.feature_index} (line {line})"
        if len(pair.answers) != ANSWERS_PER_PAIR:
            raise LabelsError(f"{where} has {len(pair.answers)} answers, not {ANSWERS_PER_PAIR}", field="file")
        name = names.setdefault(pair.class_index, pair.wordnet_id)
        index = classes.setdefault(pair.wordnet_id, pair.class_index)
        if (name, index) != (pair.wordnet_id, pair.class_index):
            raise LabelsError(
                f"line {line}, column Input.wordnet_id: class {pair.class_index} is {pair.wordnet_id}, elsewhere class "
                f"{pair.class_index} is {name} and {pair.wordnet_id} is class {index}",
                field="file",
            )
        if (pair.class_index, pair.rank) in ranks:
            raise LabelsError(
                f"line {line}, column Input.feature_rank: class {pair.class_index} has two features of rank "
                f"{pair.rank}",
                field="file",
            )
        ranks.add((pair.class_index, pair.rank))


def _wrong(line: int, column: str, value: str, expected: str) -> LabelsError:
    return LabelsError(f"line {line}, column {column}: {value[:40]!r} is not {expected}", field="file")
