"""The answers of Salient ImageNet's annotators, read from the user's own copy of the released CSV.

Source: Singla & Feizi, Salient ImageNet (ICLR 2022), file `discover_spurious_features.csv`. Five annotators looked at
each of the five most important features of each ImageNet class and said where its heat maps lie. The licence of the
file forbids passing it on: it is read where the user keeps it, and nothing of it is written but votes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import LabelsError
from models.vote_rows import RELEASED_IDS, Limits, Pair, read_pairs

CLASSES, CHANNELS = 1000, 2048
"""Of the ResNet-50 whose features were labelled; indices mean something for that checkpoint only."""

ANSWERS_PER_PAIR = 5
RANKS = 5
MAX_BYTES = 64 * 2**20
"""The released file has 2.3 MB."""


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
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelsError(f"{path.name!r} has {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}", field="file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = read_pairs(file, path.name, Limits(classes, channels, RANKS, RELEASED_IDS))
    except OSError as error:
        raise LabelsError(f"{path.name!r} cannot be read: {error.strerror}", field="file") from error
    pairs = sorted(read.pairs.values(), key=lambda pair: (pair.class_index, pair.rank))
    _check_pairs(pairs, read.lines)
    warnings = list(read.warnings)
    short = [index for index, count in Counter(pair.class_index for pair in pairs).items() if count < RANKS]
    if short:
        warnings.append(f"{len(short):,} classes have fewer than {RANKS} features, the first is class {short[0]}")
    return Release(tuple(pairs), tuple(warnings))


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
