"""Benchmarks: ratios within one run. `make bench`, or `python -m tests.bench NAME...` for some of them."""

import jobs  # noqa: F401 - before torch, which reads once what is set for its threads
