"""The tables of `docs/annotation-truth.md`, and all rows as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.statistics import wilson
from models.training.discovery_recall import Share
from models.training.documents import decimal, share, table, write_document
from tests.truth.annotation import FIRST, Measured
from tests.truth.exact import RULES, Verdict
from tests.truth.scoring import Figures, Holding, Mean, Row, record, second_round, truth

PUBLISHED = Share(4763, 5000, wilson(4763, 5000))
"""Salient ImageNet: rows validated by people over the top fifth (second study)."""

SHORT = {"main_object": "object", "separate_object": "other object", "background": "background", None: "silent"}


def write(measured: Measured, document: Path) -> None:
    """Write the tables into the document, and everything measured beside it."""
    found = {
        "pictures": measured.pictures,
        "accuracy": measured.accuracy,
        "figures": [asdict(one) for one in measured.figures],
        "rows": [record(row) for row in measured.rows],
    }
    write_document(document, tables(measured), found)


def tables(measured: Measured) -> str:
    """All tables as Markdown, each under its heading."""
    rows = measured.rows
    wrong = [row for row in rows if any(_fault(row, rule) for rule in RULES)]
    header = (
        f"{measured.pictures:,} pictures, {len(rows)} panels answered; the encoder is right on "
        f"{measured.accuracy:.1%} of the pictures.\n"
    )
    parts = [
        header,
        f"### Labels against the exact masks of the same five pictures\n\n{_labels(measured.figures)}",
        f"### Labels on the class's top fifth\n\n{_holding(measured.figures)}",
        f"### The second round, answered by the script\n\n{_second_round(rows)}",
        f"### Class by class\n\n{_classes(rows)}",
        f"### Every row whose label is wrong or does not hold\n\n{_faults(wrong)}",
    ]
    return "\n".join(parts)


def _labels(scored: Sequence[Figures]) -> str:
    header = ("features", "rule", "precision of spurious", "recall of spurious", "precision of core", "recall of core",
              "the very place")  # fmt: skip
    return table(
        header,
        [
            (
                f"first {one.first}",
                one.rule,
                *(share(found[label]) for label in ("spurious", "core") for found in (one.precision, one.recall)),
                share(one.places),
            )
            for one in scored
        ],
    )


def _holding(scored: Sequence[Figures]) -> str:
    header = ("features", "rule", "labels", "rows that hold", "pictures that agree")
    lines = [
        (f"first {one.first}", one.rule, held.labels, _rows(held), _pictures(held))
        for one in scored
        for held in one.holding
    ]
    return table(
        header, [*lines, ("first 5", "people's answers", "Salient ImageNet, published", _percent(PUBLISHED), "")]
    )


def _second_round(rows: Sequence[Row]) -> str:
    lines = []
    for first in (FIRST, max(row.rank for row in rows)):
        chosen = [row for row in rows if row.rank <= first]
        validated = Share.counted(sum(row.validated for row in chosen), len(chosen))
        for rule in RULES:
            truly = second_round(chosen, rule)
            lines.append((f"first {first}", _percent(validated), rule, *(share(found) for found in truly.values())))
    header = ("features", "validated", "rule", "labels that hold, of those validated", "of those not validated")
    return table(header, lines)


def _classes(rows: Sequence[Row]) -> str:
    lines = []
    for name in dict.fromkeys(row.class_name for row in rows):
        own = [row for row in rows if row.class_name == name]
        faults = (sum(_fault(row, rule) == fault for row in own) for rule in RULES for fault in ("wrong", "not held"))
        given = Counter(row.label for row in own)
        lines.append((name, f"{given['core']} / {given['spurious']}", *map(str, faults)))
    header = ("class", "core / spurious", *(f"{words}, {rule}" for rule in RULES for words in ("wrong", "do not hold")))
    return table(header, lines)


def _faults(rows: Sequence[Row]) -> str:
    lines = [
        (
            f"{row.class_name} {row.feature}",
            str(row.rank),
            f"{SHORT[row.answer]} ({row.confidence})",
            *(
                words
                for rule in RULES
                for words in (_counts(row.panel[rule]), _counts(row.top[rule]), _fault(row, rule))
            ),
        )
        for row in rows
    ]
    columns = (f"{words}, {rule}" for rule in RULES for words in ("panel", "top fifth", "label"))
    return table(("class, feature", "rank", "answer (confidence)", *columns), lines)


def _fault(row: Row, rule: str) -> str:
    """ "wrong" on its own panel, right there but "not held" on the top fifth, or nothing."""
    if row.label != truth(row.panel[rule])[0]:
        return "wrong"
    return "not held" if row.label != truth(row.top[rule])[0] else ""


def _counts(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{count} {SHORT[place]}" for place, count in Counter(verdicts).most_common())


def _rows(held: Holding) -> str:
    return f"{held.rows.value:.0%}" if held.rows.interval is None else _percent(held.rows)


def _percent(found: Share) -> str:
    return f"{found.value:.1%}: {share(found)}"


def _pictures(held: Holding) -> str:
    if not isinstance(held.pictures, Mean):
        return f"{held.pictures:.1%}"
    interval = held.pictures.interval
    return f"{held.pictures.value:.1%} ({decimal(interval.low)}-{decimal(interval.high)})"
