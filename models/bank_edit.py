"""New banks from published ones: decided anew, renamed, merged, labelled again. Nothing is read or written here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.agreement import decide, total
from models.bank import COMPONENTS, MANIFEST, WEIGHTS, Bank, Exemplar, Feature, Manifest, Statistics, Votes
from models.bank_card import Provenance, read_provenance
from models.bank_votes import VOTES, BankVotes, KeptAnswer, Row
from models.errors import BankError

Sources = Mapping[str, Path]
"""Where the files of the new bank are copied from, by relative path."""


@dataclass(frozen=True)
class Kept:
    """A bank and the answers kept with it, None where they are not."""

    bank: Bank
    votes: BankVotes | None

    @property
    def rows(self) -> dict[Row, Feature]:
        """Its rows by class and feature index."""
        return {(row.class_index, row.feature_index): row for row in self.bank.manifest.features}

    @property
    def files(self) -> dict[str, Path]:
        """Its files but manifest and answers."""
        return {name: self.bank.path / name for name in self.bank.manifest.files if name not in (MANIFEST, VOTES)}


@dataclass(frozen=True)
class Edited:
    """What `jobs.bank_publication.publish_bank` needs for the new bank."""

    manifest: Manifest
    files: Sources
    votes: BankVotes | None
    provenance: Provenance


@dataclass(frozen=True)
class ToLabel:
    """What drafting a bank again starts from.

    Attributes:
        draft: id of the discovery whose candidates the rows were; None where the card does not name it.
        rows: class and feature index of each row, by class and rank.
        votes: the answers so far.
    """

    draft: str | None
    rows: tuple[Row, ...]
    votes: BankVotes | None


def rethreshold(kept: Kept, threshold: int, of: int | None = None) -> Edited:
    """The same answers under another threshold; rows without answers, such as those of exact masks, keep their label.

    Args:
        kept: the bank; where its answers are not known one by one, the counts of its manifest decide alike.
        threshold, of: as in `models.agreement.decide`.

    Raises:
        BankError: no row has as many answers, or the threshold is more than the answers it was chosen for.
    """
    manifest = kept.bank.manifest
    most = max(total(row.votes) for row in manifest.features)
    if not 1 <= threshold <= (of or threshold) <= most:
        raise BankError(
            f"bank {manifest.name!r} cannot be decided by {threshold} votes"
            + (f" of {of}" if of else "")
            + f": its rows have at most {most} answers",
            field="threshold",
            remedy=f"use 1 to {most}" if most else "this bank has no answers to decide from",
        )
    provenance = read_provenance(manifest.card).model_copy(
        update={"threshold": threshold, "of": of, "edit": "rethreshold", "sources": (kept.bank.digest,)}
    )
    rows = tuple(_decided(row, threshold, of) for row in manifest.features)
    return Edited(manifest.model_copy(update={"features": rows}), kept.files, kept.votes, provenance)


def rename(kept: Kept, name: str, title: str | None = None) -> Edited:
    """The same bank under another name."""
    manifest = kept.bank.manifest
    provenance = read_provenance(manifest.card).model_copy(update={"edit": "rename", "sources": (kept.bank.digest,)})
    update = {"name": name, "title": title or manifest.title}
    return Edited(manifest.model_copy(update=update), kept.files, kept.votes, provenance)


def merge(
    first: Kept, second: Kept, name: str, title: str | None = None, threshold: int | None = None, of: int | None = None
) -> Edited:
    """The rows of two banks of the same network in one.

    A row that both have gets the answers of both, where they come from different annotators; one annotator's answer
    that is in both counts once. Its statistics are those of more pictures, its range of validity what both hold valid.

    Args:
        first: its card, and what the two have alike, are kept.
        second: what is added to it.
        name, title: of the new bank.
        threshold, of: as in `models.agreement.decide`, for rows that both have; those of the banks if left out.

    Raises:
        BankError: other weights, classes, grouping or components; a row that they label differently and whose answers
            are not known one by one; an annotator who says one thing in the one and another in the other; banks that
            were decided by different thresholds where none is named.
    """
    a, b = first.bank.manifest, second.bank.manifest
    _require_same_network(a, b)
    shared = first.rows.keys() & second.rows.keys()
    votes = _joined_votes(first, second, shared)
    answers = votes.counts() if first.votes is not None and second.votes is not None else {}
    chosen = (threshold, of)
    if threshold is None and shared & answers.keys():
        chosen = _common_threshold(a, b)
    rows: list[Feature] = []
    for row, one in (first.rows | second.rows).items():
        rows.append(_merged(first.rows[row], second.rows[row], answers.get(row), *chosen) if row in shared else one)
    exemplars, files = _exemplars(first, second, shared)
    own, others = read_provenance(a.card), read_provenance(b.card)
    manifest = a.model_copy(
        update={
            "name": name,
            "title": title or _both(a.title, b.title, " + "),
            "licence": _both(a.licence, b.licence, "; "),
            "labeller": a.labeller if _same_people(first, second) else f"{a.labeller}; {b.labeller}",
            "features": _ranked(rows, first.rows.keys(), second.rows.keys()),
            "components": max(a.components, b.components),
            "exemplars": exemplars,
            "card": {**a.card, "merged": [_named(kept.bank) for kept in (first, second)]},
        }
    )
    provenance = Provenance(
        threshold=chosen[0] or (own.threshold if own.threshold == others.threshold else None),
        of=chosen[1] or (own.of if own.of == others.of else None),
        draft=own.draft if own.draft == others.draft else None,
        dataset=own.dataset if own.dataset == others.dataset else None,
        encoder=own.encoder or others.encoder,
        edit="merge",
        sources=(first.bank.digest, second.bank.digest),
    )
    return Edited(manifest, files, votes if votes.answers else None, provenance)


def relabel(
    kept: Kept,
    answers: Sequence[KeptAnswer],
    statistics: Mapping[Row, Statistics],
    threshold: int,
    of: int,
) -> Edited:
    """The same bank with some rows labelled again; the others stay as they are, with their answers.

    Args:
        kept: the bank.
        answers: all answers on the rows labelled again, with the earlier ones that still count.
        statistics: of these rows, as the second round leaves them.
        threshold, of: as in `models.agreement.decide`, for these rows.
    """
    manifest = kept.bank.manifest
    before = kept.votes.answers if kept.votes is not None else ()
    votes = BankVotes(answers=(*(one for one in before if one.row not in statistics), *answers))
    counts = votes.counts()
    rows = []
    for row, feature in kept.rows.items():
        if row in statistics:
            update = {"votes": counts[row], "statistics": statistics[row]}
            feature = _decided(feature.model_copy(update=update), threshold, of)
        rows.append(feature)
    provenance = read_provenance(manifest.card).model_copy(
        update={"threshold": threshold, "of": of, "edit": "relabel", "sources": (kept.bank.digest,)}
    )
    return Edited(manifest.model_copy(update={"features": tuple(rows)}), kept.files, votes, provenance)


def to_label(kept: Kept) -> ToLabel:
    """The rows of a bank as what people would be asked about again, and the draft that has their panels."""
    ordered = sorted(kept.bank.manifest.features, key=lambda row: (row.class_index, row.rank))
    draft = read_provenance(kept.bank.card).draft
    return ToLabel(draft, tuple((row.class_index, row.feature_index) for row in ordered), kept.votes)


def _decided(row: Feature, threshold: int | None, of: int | None) -> Feature:
    if total(row.votes) == 0:
        return row
    label, kind = decide(row.votes, threshold, of)
    return row.model_copy(update={"label": label, "kind": kind})


def _require_same_network(a: Manifest, b: Manifest) -> None:
    checks: Sequence[tuple[str, Callable[[Manifest], object]]] = (
        ("weights", lambda one: one.files[WEIGHTS]),
        ("classes", lambda one: one.classes),
        ("backbone", lambda one: one.backbone),
        ("grouping of pictures", lambda one: one.grouping),
    )
    for what, value in checks:
        if value(a) != value(b):
            raise BankError(
                f"banks {a.name!r} and {b.name!r} cannot be merged: their {what} differ",
                field="with",
                remedy="merge banks that were labelled on the same network, by the same grouping",
            )
    if a.components and b.components and a.files[COMPONENTS] != b.files[COMPONENTS]:
        raise BankError(
            f"banks {a.name!r} and {b.name!r} cannot be merged: each has principal components of its own", field="with"
        )


def _common_threshold(a: Manifest, b: Manifest) -> tuple[int | None, int | None]:
    own, others = read_provenance(a.card), read_provenance(b.card)
    if (own.threshold, own.of) != (others.threshold, others.of):
        raise BankError(
            f"bank {a.name!r} was decided by {own.threshold} votes, bank {b.name!r} by {others.threshold}",
            field="threshold",
            remedy="name the threshold of the rows that both have",
        )
    return own.threshold, own.of


def _joined_votes(first: Kept, second: Kept, shared: set[Row]) -> BankVotes:
    """The answers of both banks, each once.

    Raises:
        BankError: on a row that both have they contradict each other, or cannot be told apart.
    """
    if first.votes is None or second.votes is None:
        for row in sorted(shared):
            one, other = first.rows[row], second.rows[row]
            if (one.label, one.kind, one.votes) != (other.label, other.kind, other.votes):
                raise BankError(
                    f"{_where(first, row)}: the banks disagree on it, and whose answers they count is not known",
                    field="with",
                    remedy="merge banks that have their answers with them (votes.json)",
                )
    known: dict[tuple[Row, str], KeptAnswer] = {}
    for answer in (answer for kept in (first, second) if kept.votes is not None for answer in kept.votes.answers):
        before = known.setdefault((answer.row, answer.annotator), answer)
        if before.kind != answer.kind:
            raise BankError(
                f"{_where(first, answer.row)}: {answer.annotator} says {before.kind} in one bank and {answer.kind} in "
                "the other",
                field="with",
                remedy="publish again the bank whose answer is outdated",
            )
    return BankVotes(answers=tuple(known.values()))


def _merged(one: Feature, other: Feature, votes: Votes | None, threshold: int | None, of: int | None) -> Feature:
    wider = one if one.statistics.images >= other.statistics.images else other
    valid_from = max(one.statistics.valid_from, other.statistics.valid_from)
    valid_to = min(one.statistics.valid_to, other.statistics.valid_to)
    if valid_from > valid_to:
        raise BankError(
            f"class {one.class_index}, feature {one.feature_index}: the ranges in which the banks hold it valid do not "
            "meet",
            field="with",
        )
    found = wider.model_copy(
        update={
            "statistics": Statistics(**wider.statistics.model_dump() | {"valid_from": valid_from, "valid_to": valid_to})
        }
    )
    return found if votes is None else _decided(found.model_copy(update={"votes": votes}), threshold, of)


def _ranked(rows: Sequence[Feature], *banks: Collection[Row]) -> tuple[Feature, ...]:
    """Rows by class and rank; where both banks have rows of a class, ranked anew: channels by importance first."""
    both = set.intersection(*({class_index for class_index, _ in own} for own in banks))
    by_class: defaultdict[int, list[Feature]] = defaultdict(list)
    for row in rows:
        by_class[row.class_index].append(row)
    ranked: list[Feature] = []
    for class_index, own in sorted(by_class.items()):
        if class_index not in both:
            ranked += sorted(own, key=lambda row: row.rank)
            continue
        own.sort(key=lambda row: (row.component is not None, -row.importance, row.feature_index))
        ranked += [row.model_copy(update={"rank": rank}) for rank, row in enumerate(own, start=1)]
    return tuple(ranked)


def _exemplars(first: Kept, second: Kept, shared: set[Row]) -> tuple[tuple[Exemplar, ...], dict[str, Path]]:
    """The pictures of both banks, of rows that both have those of the first, each file under a name of its own."""
    files = {**second.files, **first.files}
    exemplars = list(first.bank.manifest.exemplars)
    for exemplar in second.bank.manifest.exemplars:
        if (exemplar.class_index, exemplar.feature_index) in shared:
            continue
        name = exemplar.picture
        if name is not None and files[name] != second.files[name]:
            digest = second.bank.manifest.files[name]
            if digest != first.bank.manifest.files[name]:
                name = f"exemplars/{digest[:16]}{Path(name).suffix}"
                files[name] = second.files[str(exemplar.picture)]
        exemplars.append(exemplar.model_copy(update={"picture": name}))
    shown = {exemplar.picture for exemplar in exemplars}
    kept = {name for name in files if name in shown or name in first.files or name == COMPONENTS}
    return tuple(exemplars), {name: files[name] for name in sorted(kept)}


def _both(one: str, other: str, joint: str) -> str:
    return one if one == other else f"{one}{joint}{other}"


def _same_people(first: Kept, second: Kept) -> bool:
    """Whether two banks that call their labellers alike mean the same: "2 annotators" may be two others."""
    alike = first.bank.manifest.labeller == second.bank.manifest.labeller
    people = [kept.votes.annotators if kept.votes is not None else None for kept in (first, second)]
    return alike and people[0] == people[1]


def _named(bank: Bank) -> dict[str, object]:
    manifest = bank.manifest
    return {"name": bank.name, "version": manifest.version or 1, "digest": bank.digest, "licence": manifest.licence}


def _where(kept: Kept, row: Row) -> str:
    return f"class {kept.bank.classes[row[0]]!r}, feature {row[1]}"
