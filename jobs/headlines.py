"""The latest headline of every classifier for those who watch: in Redis, for a bounded number of classifiers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import redis
from pydantic import BaseModel, ConfigDict

from jobs.findings import Verdict
from jobs.ledger import PREFIX
from jobs.redis_client import answering
from jobs.report import Report

MOST_SUBJECTS = 50
"""Classifiers (and banks) remembered; the one audited longest ago makes room."""
LONGEST_NAME = 80

TIMES, RECORDS = PREFIX + "headlines:times", PREFIX + "headlines"

# KEYS: times, records. ARGV: name, time, record, most. An audit that ended earlier does not replace a later one.
_NOTE = """
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if known and tonumber(known) > tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local old = redis.call('ZRANGE', KEYS[1], 0, -1 - tonumber(ARGV[4]))
for _, name in ipairs(old) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
return 1
"""


class Headline(BaseModel):
    """What the latest audit of a classifier under a bank came to; figures are null where they are withheld."""

    model_config = ConfigDict(frozen=True)

    classifier: str
    bank: str
    value: float | None
    low: float | None
    high: float | None
    flagged: int
    verdict: Verdict
    finished: datetime


class Headlines:
    """Methods raise `Unavailable` while Redis cannot be reached."""

    def __init__(self, client: redis.Redis) -> None:
        """Use a client whose answers are text."""
        self._client: Any = client
        self._note = self._client.register_script(_NOTE)

    @answering
    def note(self, report: Report, finished: datetime) -> None:
        """Remember an audit, unless a later one of the same classifier and bank is known."""
        found = Headline(
            classifier=(report.classifier.name or report.classifier.id[:12])[:LONGEST_NAME],
            bank=report.bank.name,
            value=report.headline.value,
            low=report.headline.low,
            high=report.headline.high,
            flagged=len(report.flagged),
            verdict=report.verdict,
            finished=finished,
        )
        name = json.dumps([found.classifier, found.bank])
        self._note(keys=[TIMES, RECORDS], args=[name, finished.timestamp(), found.model_dump_json(), MOST_SUBJECTS])

    @answering
    def list(self) -> Sequence[Headline]:
        """Those remembered, by classifier and bank."""
        records = [Headline.model_validate_json(record) for record in self._client.hvals(RECORDS)]
        return sorted(records, key=lambda one: (one.classifier, one.bank))
