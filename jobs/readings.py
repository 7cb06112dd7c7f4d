"""From estimates to the entries of a section: a metric, how its figures are read, and what they are seeded with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobs.figures import Estimate, counted, mean
from jobs.sections import Entry, Metric, adjusted
from models.bank import Bank

MOST_NAMES = 8


@dataclass(frozen=True)
class Reading:
    """A metric and how its figures are read.

    Attributes:
        metric: what it is.
        lead, tail: the sentence around the value; {subject} stands for what the pictures are of, {part} for the part.
        show: a value as people read it.
    """

    metric: Metric
    lead: str
    tail: str
    show: Callable[[float], str]

    def entries(
        self,
        bank: Bank,
        by_class: Mapping[int, Estimate],
        part: str | None = None,
        p_values: Mapping[int, float] | None = None,
    ) -> list[Entry]:
        """The mean over the classes that have the figure, then each of them.

        Args:
            by_class: by class index; a figure on too few pictures is withheld.
            p_values: of those classes that are tested; what is withheld is not.
        """
        together = self._entry(None, part, mean(list(by_class.values())), None)
        tested = p_values or {}
        return [together] + [self._entry(bank.classes[c], part, own, tested.get(c)) for c, own in by_class.items()]

    def _entry(self, of: str | None, part: str | None, estimate: Estimate, p_value: float | None) -> Entry:
        subject = "of a class on average" if of is None else f"of {of}"
        lead, tail = (
            text.replace("{subject}", subject).replace("{part}", part or "") for text in (self.lead, self.tail)
        )
        return Entry(
            metric=self.metric.name,
            of=of,
            part=part,
            figure=estimate.figure(lead[0].upper() + lead[1:], tail, self.show),
            p_value=p_value if estimate.enough else None,
        )


def in_order(entries: Iterable[Entry], bank: Bank) -> tuple[Entry, ...]:
    """Entries with their p-values adjusted: of all classes first, then class by class in the bank's order."""
    place = {name: index for index, name in enumerate(bank.classes)}
    return tuple(sorted(adjusted(list(entries)), key=lambda entry: -1 if entry.of is None else place[entry.of]))


def flagged_in_words(entries: Sequence[Entry], metric: str, finding: str) -> str:
    """In how many classes one metric is flagged, as a sentence that begins with what that says, e.g. "Grey costs"."""
    tested = {entry.of for entry in entries if entry.metric == metric and entry.p_value is not None}
    if not tested:
        return "No class has pictures enough to be tested."
    found = (entry.of for entry in entries if entry.metric == metric and entry.flagged)
    flagged = list(dict.fromkeys(name for name in found if name is not None))
    more = f" and {len(flagged) - MOST_NAMES:,} more" if len(flagged) > MOST_NAMES else ""
    names = ", ".join(flagged[:MOST_NAMES]) + more
    return f"{finding} in {len(flagged)} of {counted(len(tested))} tested" + (f": {names}." if flagged else ".")
