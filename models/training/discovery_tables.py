"""The tables of ``docs/discovery-truth.md``, and its figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.training.discovery_networks import RHO_PICTURES, RHO_PLAN
from models.training.discovery_recall import Figures
from models.training.discovery_truth import COUNTS, DEPTHS, RHO_COUNT, Barlow, Measured
from models.training.documents import share, table, write_document

FOUND = ("objects", "background cues", "separate-object cues", "all cues")


def write(measured: Measured, document: Path) -> None:
    """Write the tables into the document, and all figures beside it."""
    write_document(document, tables(measured), asdict(measured))


def tables(measured: Measured) -> str:
    """All tables as Markdown, each under its heading."""
    parts = [f"### Found among the first {k} candidates of each class\n\n{_of_count(measured, k)}" for k in COUNTS]
    parts.append(f"### Barlow, by inspected classifier\n\n{_barlow(measured.barlow)}")
    parts.append(f"### Recall over rho: IV, first {RHO_COUNT} candidates\n\n{_rhos(measured)}")
    return "\n".join(parts)


def _of_count(measured: Measured, k: int) -> str:
    place = COUNTS.index(k)
    rows = [(method.name, method.figures[place]) for method in measured.methods]
    rows += [(f"Barlow by gain, {_inspected(row)}", row.gain[place]) for row in measured.barlow[-2:]]
    rows.sort(key=lambda row: row[0].startswith("chance"))
    header = ("method", *FOUND, "candidates that show any")
    return table(header, [(name, *_recalls(found), share(found.precision)) for name, found in rows])


def _barlow(rows: Sequence[Barlow]) -> str:
    header = ("classifier, group", "failures", "features from", *FOUND, "candidates that show any")
    lines = []
    for row in rows:
        ways = [(f"tree of depth {depth}", found) for depth, found in zip(DEPTHS, row.trees, strict=True)]
        ways.append((f"top {RHO_COUNT} by gain", row.gain[COUNTS.index(RHO_COUNT)]))
        for way, found in ways:
            start = (_inspected(row), f"{row.failures} / {row.pictures}", way)
            lines.append((*start, *_recalls(found), share(found.precision)))
    return table(header, lines)


def _rhos(measured: Measured) -> str:
    header = ("rho", "accuracy, own cues", "accuracy, swapped cues", *FOUND, "all cues by chance", "objects by chance")
    rows = [
        (
            f"{point.rho:.1f}",
            f"{point.own_cues:.3f}",
            f"{point.swapped_cues:.3f}",
            *_recalls(point.figures),
            share(point.by_chance.cues),
            share(point.by_chance.objects),
        )
        for point in measured.rhos
    ]
    budget = (
        f"One robust network for each rho: {RHO_PICTURES} pictures, {RHO_PLAN.epochs} epochs, one attack step. The "
        "shipped backbone saw 8,000 pictures in 8 epochs of two attack steps.\n\n"
    )
    return budget + table(header, rows)


def _inspected(row: Barlow) -> str:
    return f"{row.classifier} by {'label' if row.grouping == 'label' else 'prediction'}"


def _recalls(found: Figures) -> tuple[str, ...]:
    return tuple(share(one) for one in (found.objects, found.backgrounds, found.separate_objects, found.cues))
