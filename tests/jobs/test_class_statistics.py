"""Statistics of shards: what many shards say together is what one would have said, and so are the bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from jobs.class_statistics import ClassStatistics
from jobs.look import Seen
from jobs.phi_sample import PhiSample

RAN_ON = {"device": "cpu", "encoder": "CPUExecutionProvider"}


@pytest.fixture
def whole() -> PhiSample:
    """300 pictures of three groups with features of very different size, one of which never fires."""
    generator = np.random.default_rng(0)
    phi = (generator.exponential(size=(300, 5)) * [1, 1e-6, 1e6, 1, 0]).astype(np.float32)
    group = generator.integers(0, 3, 300).astype(np.int32)
    return PhiSample(np.arange(300), group, group, np.full(300, -1, np.int32), phi)


def statistics(sample: PhiSample) -> ClassStatistics:
    return ClassStatistics.of(
        Seen(sample, len(sample), 7, Counter(sample.label.tolist()), Counter(damaged=1)), 4, RAN_ON
    )


def test_shards_together_say_what_one_says(whole: PhiSample) -> None:
    once, parts = statistics(whole), ClassStatistics()
    for start, stop in ((200, 300), (0, 1), (1, 200)):
        parts.add(ClassStatistics.from_bytes(statistics(whole.take(np.arange(start, stop))).to_bytes()))
    assert (parts.pictures, parts.right, parts.skipped) == (300, 21, Counter(damaged=3))
    assert parts.ran_on == once.ran_on
    assert parts.labelled == once.labelled
    for group in range(3):
        assert parts.moments[group].count == once.moments[group].count
        np.testing.assert_allclose(parts.moments[group].mean, once.moments[group].mean, rtol=1e-12)
        np.testing.assert_allclose(parts.moments[group].std, once.moments[group].std, rtol=1e-9)
        assert parts.moments[group].std[4] == 0
        assert np.array_equal(parts.strongest[group].rows, once.strongest[group].rows)


def test_equal_statistics_give_equal_bytes(whole: PhiSample) -> None:
    content = statistics(whole).to_bytes()
    assert content == statistics(whole).to_bytes() == ClassStatistics.from_bytes(content).to_bytes()
