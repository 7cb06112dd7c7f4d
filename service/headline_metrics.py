"""What the latest audit of each classifier came to, for dashboards and alarms; read from Redis at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

import redis
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.errors import Unavailable
from jobs.headlines import Headlines

LABELS = ["classifier", "bank"]


class HeadlineCollector(Collector):
    """Gauges of the classifiers remembered (`jobs.headlines`): a bounded number, so their names may be labels.

    A figure that is withheld has no sample.
    """

    def __init__(self, headlines: Headlines) -> None:
        self.headlines = headlines

    def collect(self) -> Iterator[Metric]:
        """All families; without samples where Redis does not answer."""
        try:
            found = self.headlines.list()
        except (Unavailable, redis.RedisError):
            found = []
        headline = GaugeMetricFamily(
            "cuecheck_audit_headline", "Swap gap of the latest audit, in [-1, 1]; higher is worse.", labels=LABELS
        )
        low = GaugeMetricFamily("cuecheck_audit_headline_low", "Lower end of its 95 % interval.", labels=LABELS)
        high = GaugeMetricFamily("cuecheck_audit_headline_high", "Upper end of its 95 % interval.", labels=LABELS)
        flagged = GaugeMetricFamily(
            "cuecheck_audit_flagged_classes", "Classes shown to rely on spurious features.", labels=LABELS
        )
        finished = GaugeMetricFamily(
            "cuecheck_audit_finished_timestamp_seconds", "When the latest audit ended.", labels=LABELS
        )
        for one in found:
            labels = [one.classifier, one.bank]
            for family, value in ((headline, one.value), (low, one.low), (high, one.high)):
                if value is not None:
                    family.add_metric(labels, value)
            flagged.add_metric(labels, one.flagged)
            finished.add_metric(labels, one.finished.timestamp())
        yield from (headline, low, high, flagged, finished)
