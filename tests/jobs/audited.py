"""A report from rows that a test has made, whatever classifier they are said to be of."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from jobs.counts import Counts
from jobs.reduction import find
from jobs.report import Report, make_report
from models.bank import Bank
from tests.jobs import world
from tests.jobs.large_report import classifier, dataset


def audited(tables: Sequence[pa.Table], bank: Bank, name: str = "barn birds") -> Report:
    """The report of an audit that left these shards."""
    counts = Counts.of(bank, tables)
    findings = find(counts, bank, world.REQUEST.seed)
    subject, pictures = classifier(name, world.CLASSES[:2]), dataset("barnyard", world.CLASSES, 100)
    return make_report("a" * 32, "1.0+0", world.REQUEST, subject, pictures, bank, counts, findings)
