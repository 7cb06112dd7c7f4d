"""The votes of an annotation, counted: only panels that were answered since are counted again when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from jobs.annotation import Answer
from models.agreement import Consensus, consensus, tally
from models.bank import Votes


class Tally:
    """The votes on every panel, and how often each annotator answered as most of the others did.

    Counting ten thousand panels takes a good part of a second; between two looks of an owner only some have changed.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Answer]]) -> None:
        """Count from nothing: all panels of `answers`, which is by panel and then by annotator, and may change."""
        self._answers = answers
        self._touched = set(answers)
        self._votes: dict[str, Votes] = {}
        self._alike: dict[Votes, set[str]] = {}
        self._compared: dict[str, dict[str, Consensus]] = {}
        self._agreement: Counter[tuple[str, str]] = Counter()

    def touch(self, panel: str) -> None:
        """Somebody answered this panel, or took an answer back."""
        self._touched.add(panel)

    def votes(self, panel: str) -> Votes:
        """The answers on a panel by kind."""
        if panel in self._touched:
            self._count(panel)
        return self._votes.get(panel, Votes())

    def alike(self) -> Iterator[tuple[Votes, set[str]]]:
        """The panels that somebody answered, together those with the same votes; not to be changed."""
        self._count_all()
        yield from self._alike.items()

    def agreement(self) -> dict[str, Consensus]:
        """Of every annotator who has answered, as `consensus` finds it."""
        self._count_all()
        annotators = {annotator for annotator, _ in self._agreement}
        return {one: Consensus(self._agreement[one, "agreed"], self._agreement[one, "compared"]) for one in annotators}

    def _count_all(self) -> None:
        for panel in list(self._touched):
            self._count(panel)

    def _count(self, panel: str) -> None:
        self._touched.discard(panel)
        if (before := self._votes.pop(panel, None)) is not None:
            self._alike[before].discard(panel)
            self._add_up(self._compared.pop(panel), -1)
        given = {annotator: answer.kind for annotator, answer in self._answers.get(panel, {}).items()}
        if not given:
            return
        self._votes[panel] = votes = tally(given.values())
        self._alike.setdefault(votes, set()).add(panel)
        self._compared[panel] = consensus([given])
        self._add_up(self._compared[panel], 1)

    def _add_up(self, compared: Mapping[str, Consensus], sign: int) -> None:
        for annotator, one in compared.items():
            self._agreement[annotator, "agreed"] += sign * one.agreed
            self._agreement[annotator, "compared"] += sign * one.compared
