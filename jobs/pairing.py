"""Two audits of the same pictures, read side by side: all that is compared picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from jobs.audit_pairs import AuditPairs
from jobs.audit_request import AuditRequest
from jobs.figures import Estimate
from jobs.measurement import Changes, Scope
from jobs.metrics import Place, place_in
from jobs.outcomes import COLUMNS
from models.bank import Bank

Tables = Callable[[Sequence[str]], Iterable[tuple[pa.Table, pa.Table]]]
"""Gives these columns of the tables of both audits in pairs, all that have a picture in common."""


class Pairing:
    """What is compared, and sums over the pairs of pictures; their size depends on bank and parameters alone.

    Attributes:
        bank: of both audits.
        pairs: what the figures of the findings are told from.
        scopes: of both audits; None where that is not known any more, and figures of sections are not compared.
    """

    def __init__(self, bank: Bank, requests: tuple[AuditRequest, AuditRequest], scopes: tuple[Scope, Scope] | None):
        """Nothing is compared yet."""
        self.bank, self.scopes = bank, scopes
        self.pairs = AuditPairs(bank)
        first, second = requests
        self._sections: dict[str, Sequence[Changes]] = {}
        if scopes is not None:
            shared = [(own, asked) for own, asked in first.chosen() if second.measures(own)]
            self._sections = {own.name: own.changes(scopes, asked) for own, asked in shared}

    @property
    def passes(self) -> int:
        """How often all tables are read."""
        return 1 + any(own.looks for own in self._changes)

    def take_in(self, tables: Tables) -> None:
        """Compare all pictures."""
        if looking := [own for own in self._changes if own.looks]:
            for first, second in tables(_columns(looking)):
                for own in looking:
                    own.look(first, second)
        for first, second in tables(_columns(self._changes, COLUMNS)):
            self.pairs.add(first, second)
            for own in self._changes:
                own.add(first, second)

    def sections(self) -> Iterator[tuple[Place, Estimate]]:
        """The figures of sections in the first audit less those in the second, as far as they can be paired."""
        for name, changes in self._sections.items():
            for change in (found for own in changes for found in own.found()):
                yield place_in(name, change), change.estimate

    @property
    def _changes(self) -> list[Changes]:
        return [own for changes in self._sections.values() for own in changes]


def _columns(changes: Iterable[Changes], further: Iterable[str] = ()) -> list[str]:
    return sorted({*further, *(name for own in changes for name in own.reads)})
