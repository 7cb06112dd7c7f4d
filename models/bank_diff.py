"""What differs between two banks: rows that came or went, labels, votes, ranges of validity, statistics."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.bank import COMPONENTS, WEIGHTS, Bank, Feature

COMPARED = ("title", "licence", "labeller", "grouping", "classes", "components", "parent")
Aspect = Literal["label", "kind", "votes", "validity", "statistics", "rank", "importance"]


class Change(BaseModel):
    """A value in the one bank and in the other."""

    aspect: str = Field(description="What it is a value of.", examples=["label"])
    before: Any
    after: Any


class RowDiff(BaseModel):
    """A row that is not the same in both."""

    class_index: int
    class_name: str
    feature_index: int
    what: Literal["added", "removed", "changed"]
    label: str = Field(description="Label in the second bank; of a removed row in the first.", examples=["spurious"])
    changes: list[Change] = Field([], description="Of a changed row.")


class BankDiff(BaseModel):
    """From a first bank to a second."""

    before: str = Field(description="Digest of the first bank.")
    after: str = Field(description="Digest of the second bank.")
    same_network: bool = Field(
        description="Whether weights, classes and components are the same; if not, a feature of the one is no feature "
        "of the other, and rows are not compared."
    )
    fields: list[Change] = Field(description="What the banks state of themselves that differs.")
    same: int = Field(description="Rows that are alike in everything.")
    counts: dict[str, int] = Field(
        description="Rows `added` and `removed`, and of those that both have how many differ in `label`, `kind`, "
        "`votes`, `validity`, `statistics`, `rank`, `importance`."
    )
    rows: list[RowDiff] = Field(description="By class and feature.")


def diff(before: Bank, after: Bank) -> BankDiff:
    """Compare two banks row by row."""
    a, b = before.manifest, after.manifest
    fields = [
        Change(aspect=name, before=old, after=new)
        for name in COMPARED
        if (old := getattr(a, name)) != (new := getattr(b, name))
    ]
    same_network = (a.files[WEIGHTS], a.classes) == (b.files[WEIGHTS], b.classes) and (
        not a.components or not b.components or a.files[COMPONENTS] == b.files[COMPONENTS]
    )
    rows: list[RowDiff] = []
    alike = 0
    if same_network:
        old_rows, new_rows = (
            {(row.class_index, row.feature_index): row for row in manifest.features} for manifest in (a, b)
        )
        for key in sorted(old_rows.keys() | new_rows.keys()):
            old, new = old_rows.get(key), new_rows.get(key)
            changes = _changes(old, new) if old and new else []
            if old and new and not changes:
                alike += 1
                continue
            rows.append(
                RowDiff(
                    class_index=key[0],
                    class_name=a.classes[key[0]],
                    feature_index=key[1],
                    what="changed" if old and new else "added" if new else "removed",
                    label=(new or old).label,  # type: ignore[union-attr]
                    changes=changes,
                )
            )
    counts = Counter(row.what for row in rows if row.what != "changed")
    by_aspect = Counter(change.aspect for row in rows for change in row.changes)
    return BankDiff(
        before=before.digest,
        after=after.digest,
        same_network=same_network,
        fields=fields,
        same=alike,
        counts={**counts, **by_aspect},
        rows=rows,
    )


def _changes(old: Feature, new: Feature) -> list[Change]:
    pairs = zip(_aspects(old).items(), _aspects(new).values(), strict=True)
    return [Change(aspect=aspect, before=a, after=b) for (aspect, a), b in pairs if a != b]


def _aspects(row: Feature) -> dict[Aspect, Any]:
    statistics = row.statistics
    return {
        "label": row.label,
        "kind": row.kind,
        "votes": row.votes.model_dump(),
        "validity": [statistics.valid_from, statistics.valid_to],
        "statistics": statistics.model_dump(exclude={"valid_from", "valid_to"}),
        "rank": row.rank,
        "importance": row.importance,
    }
