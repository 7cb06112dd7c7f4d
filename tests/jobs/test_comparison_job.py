"""Comparisons as jobs: of audits that were cut differently, cancelled, begun again, and refused beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs import comparison_job
from jobs.classifiers import delete_classifier, import_classifier
from jobs.comparison import Comparison, Difference
from jobs.comparison_job import RESULT
from jobs.comparison_request import ComparisonRequest
from jobs.errors import Cancelled, Invalid, NotFound
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.tasks import perform
from tests import networks
from tests.jobs.installation import Installation, work

PICTURES = 130
MEASUREMENTS = {"cue-swaps": {}, "natural-pictures": {"ends": 0.4, "bins": 10}, "region-noise": {}}
ASKED = {"batch_size": 32, "max_pictures": PICTURES, "measurements": MEASUREMENTS}


@pytest.fixture
def audits(in_process: Installation, tmp_path: Path) -> tuple[str, str]:
    """Ids of the audits of two classifiers on the same pictures: cut into 3 and into 5 shards."""
    queue, settings = in_process.queue, in_process.settings
    asked = in_process.request.model_copy(update=ASKED)
    weights = np.random.default_rng(8).normal(size=(3, len(networks.CLASSES))).astype(np.float32)
    file = networks.pooled(tmp_path / "other.onnx", weights=weights, scores=len(networks.CLASSES))
    other = import_classifier(queue.store, file, networks.spec(), settings)
    first = queue.submit(asked).id
    work(queue)
    cut = JobQueue(settings.model_copy(update={"shard_pictures": 30}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUECHECK_SHARD_PICTURES", "30")
        second = cut.submit(asked.model_copy(update={"classifier": other.id})).id
        work(cut)
    shards = [len(list(queue.store.list(f"audits/{audit}/shards"))) for audit in (first, second)]
    assert shards == [3, 5]
    return first, second


def result(queue: JobQueue, job: str) -> Comparison:
    return Comparison.model_validate_json(queue.store.read_bytes(queue.file(job, RESULT)))


def known(comparison: Comparison) -> list[Difference]:
    return [found for found in comparison.differences if found.figure.value is not None]


def test_a_comparison_reads_both_audits_and_leaves_its_files(in_process: Installation, audits: tuple[str, str]) -> None:
    queue = in_process.queue
    request = ComparisonRequest.model_validate({"audit": audits[1], "baseline": audits[0], "with": [audits[0]]})
    job = queue.submit(request).id
    assert work(queue) == ["plan", "shard-0", "reduce"]
    record = queue.get(job)
    assert (record.state, record.done, record.total) == (JobState.SUCCEEDED, 2 * PICTURES, 2 * PICTURES)
    assert record.request == {"audit": audits[1], "baseline": audits[0], "with": [audits[0]]}
    assert {RESULT, "comparison.html", "comparison.md"} <= set(record.artefacts)
    assert queue.submit(request).id == job
    found = result(queue, job)
    assert found.effective_robustness is not None
    assert found.pictures in (PICTURES - 1, PICTURES), "one of all is broken"
    assert any("." in d.metric and d.paired for d in known(found))
    assert any(abs((d.audit or 0) - (d.baseline or 0)) > 0.01 and d.paired for d in known(found))
    for d in known(found):
        assert d.figure.value == pytest.approx((d.audit or 0) - (d.baseline or 0), abs=1e-9), d

    only = ComparisonRequest(audit=audits[1], baseline=audits[0])
    assert queue.known(only) is None, "another request"
    delete_classifier(queue.store, in_process.request.classifier)
    queue.submit(only)
    work(queue)
    told = queue.known(only)
    assert told is not None
    assert any("deleted since" in note for note in result(queue, told.id).notes)
    assert queue.get(told.id).done == PICTURES, "nothing wants to see them twice"


def test_a_cancelled_comparison_stops_at_the_next_shard_and_begins_anew(
    in_process: Installation, audits: tuple[str, str]
) -> None:
    queue = in_process.queue
    job = queue.submit(ComparisonRequest(audit=audits[0], baseline=audits[1])).id
    perform(job, "plan")
    queue.cancel(job)
    with pytest.raises(Cancelled):
        comparison_job.run_shard(queue, job, 0, queue.inputs(job))
    assert not queue.store.exists(queue.file(job, RESULT))
    queue.retry(job)
    work(queue)
    assert queue.get(job).state is JobState.SUCCEEDED
    assert any(d.paired for d in known(result(queue, job)))


def test_what_cannot_be_compared_is_refused_before_it_is_queued(
    in_process: Installation, audits: tuple[str, str]
) -> None:
    queue = in_process.queue
    other = queue.submit(in_process.request.model_copy(update={**ASKED, "sigma": 0.5})).id
    with pytest.raises(NotFound) as missing:
        queue.submit(ComparisonRequest(audit=audits[0], baseline=other))
    assert missing.value.field == "baseline", "it has left no report yet"
    work(queue)
    with pytest.raises(Invalid, match="sigma") as refused:
        queue.submit(ComparisonRequest.model_validate({"audit": audits[0], "baseline": audits[1], "with": [other]}))
    assert refused.value.field == "with"
    for name in ("..", "", "0" * 32):
        with pytest.raises(NotFound):
            queue.submit(ComparisonRequest(audit=name, baseline=audits[1]))
    assert {job.kind for job in queue.page().jobs} == {"audit"}
