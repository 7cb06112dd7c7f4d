"""What runs for minutes: data sets, the queue, shards, audits, reports and the store they live in."""

import os

# libgomp reads this once, when torch is loaded. Its idle threads would spin for milliseconds on a processor that the
# classifier's own process needs: audits of small classifiers take a seventh longer then.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
