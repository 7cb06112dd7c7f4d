"""Pictures with the cue and without the object, from a second data set."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import rows
from jobs.archives import ArchiveLimits
from jobs.audit import audit_shard
from jobs.class_map import map_classes
from jobs.datasets import Sample, import_archive
from jobs.errors import Invalid, NotFound
from jobs.records import JobState
from models.statistics import average_precision
from tests.jobs import world
from tests.jobs.installation import FOLDERS, Installation, work
from tests.jobs.measuring import Measured, measure, refused, request, summed_up
from tests.jobs.world import GREEN, GREY, RED

NAME = "spurious-only"
ASKED = {"dataset": "0" * 64}


def cues(count: int, shown: int | None = None) -> list[Sample]:
    """Pictures in the folder of hens: the green square alone; in those after the first `shown` not even that."""
    found = []
    for i in range(count):
        pixels = world.picture(GREY, (0, 0), (4 * (i % 8), 5 * (i % 9)) if shown is None or i < shown else None)
        found.append(Sample(i, f"hen/cue-{i}.png", 0, world.png(pixels)))
    return found


def run(predict: world.Predict, further: Sequence[Sample], folders: Sequence[str] = ("hen", "owl")) -> Measured:
    items = world.samples(30, 25)
    second = map_classes(world.bank(), folders, ["hen", "owl"])
    subject = replace(world.subjects(predict, dataset=items), further={NAME: second})
    return measure(NAME, predict, items, ASKED, subjects=subject, further=further)


def test_a_cue_reliant_classifier_says_hen_to_the_cue_alone_and_is_flagged() -> None:
    found = run(world.looking_at(GREEN), cues(40))
    assert found.value("false_trigger_rate") == 1
    entry = found.entry("false_trigger_excess")
    assert (entry.figure.value, entry.figure.n, entry.flagged) == (1.0, 25, True)
    assert found.value("auroc") == 0.5  # it cannot tell them apart: all scores are equal
    assert found.value("average_precision") == pytest.approx(30 / 70)
    assert found.value("mean_probability") == pytest.approx(1 / (1 + np.exp(-(100 * (256 / 4096 - 0.03)))), abs=1e-4)
    assert found.section.flagged == ("hen",)


def test_an_object_reliant_classifier_tells_them_apart() -> None:
    found = run(world.looking_at(RED), cues(40))
    assert found.value("false_trigger_rate") == 0
    assert (found.value("auroc"), found.value("average_precision")) == (1, 1)
    assert (found.figure("auroc").low or 0) < 0.99  # no certainty from 30 against 40 pictures
    assert found.section.flagged == ()


def test_average_precision_and_auroc_are_named_apart_and_are_what_they_are_called() -> None:
    """The code released with the data set computes average precision and calls it AUC."""

    def predict(batch: np.ndarray) -> np.ndarray:
        """Scores that order the pictures in a way of their own."""
        scores = 3 * np.sin(1000 * batch.mean(axis=(1, 2, 3)) + 50 * batch[:, 0, ::7, ::5].sum(axis=(1, 2)))
        return np.stack([scores, np.zeros_like(scores)], axis=1).astype(np.float32)

    found = run(predict, cues(40))
    hens = [row["log_odds"] for row in found.rows(rows.CLEAN) if row["class"] == 0]
    alone = [row["log_odds"] for row in found.rows(NAME)]
    truth = np.arange(len(hens) + len(alone)) < len(hens)
    expected = average_precision(np.round(np.array(hens + alone) * 50), truth)
    won = np.mean(
        [(h > a) + (h == a) / 2 for h in np.round(np.array(hens) * 50) for a in np.round(np.array(alone) * 50)]
    )
    assert found.value("average_precision") == pytest.approx(expected)
    assert found.value("auroc") == pytest.approx(won)
    assert abs(expected - won) > 0.02


def test_no_backbone_looks_at_them_and_nothing_is_done_to_them() -> None:
    found = run(world.looking_at(GREEN), cues(21, shown=7))
    own = found.rows(NAME)
    assert len(own) == 21
    assert found.value("false_trigger_rate") == pytest.approx(7 / 21)
    assert all(row["energy"] == 0 and row["feature"] is None for row in own)
    assert len(found.rows(rows.CLEAN)) == 55  # they are no part of the audit's own figures


def test_folders_of_other_classes_are_skipped_with_their_reason() -> None:
    strangers = [sample._replace(label=2, row=100 + sample.row) for sample in cues(2)]
    found = run(world.looking_at(GREEN), [*cues(20), *strangers], ["hen", "owl", "emu"])
    assert [row["reason"] for row in found.rows(rows.SKIPPED)] == ["class_not_in_bank"] * 2


def test_shards_and_batches_change_nothing() -> None:
    further, items = cues(23, shown=15), world.samples(24, 20)
    subject = replace(
        world.subjects(world.looking_at(GREEN), dataset=items),
        further={NAME: map_classes(world.bank(), ["hen", "owl"], ["hen", "owl"])},
    )

    def table(samples: Sequence[Sample], second: Sequence[Sample], batch_size: int):  # type: ignore[no-untyped-def]
        asked = request(NAME, ASKED, batch_size=batch_size)
        return audit_shard(samples, subject, asked, 10**6, lambda done: None, {NAME: second})

    whole = summed_up(NAME, [table(items, further, 8)], subject, ASKED)
    parts = [table(items[:17], further[:5], 3), table(items[17:], further[5:], 3)]
    assert summed_up(NAME, parts, subject, ASKED) == whole


def test_the_data_set_must_be_named() -> None:
    assert refused(NAME, {})[0] == "measurements.spurious-only.dataset"
    field, message = refused(NAME, {"dataset": "mine"})
    assert field == "measurements.spurious-only.dataset"
    assert message.endswith("'^[0-9a-f]{64}$'")


def uploaded(installation: Installation, folder: Path, content: Mapping[str, int]) -> str:
    """A data set of grey pictures in some folders; its id."""
    path = folder / "second.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, count in content.items():
            for i in range(count):
                with archive.open(f"{name}/{i}.png", "w") as file:
                    Image.new("RGB", (64, 64), (i * 9 % 256, 80, 80)).save(file, "PNG")
    limits = ArchiveLimits.from_settings(installation.settings)
    return import_archive(installation.queue.store, path, limits, "spurious only").id


def test_an_audit_reads_a_second_data_set_and_reports_it(in_process: Installation, tmp_path: Path) -> None:
    second = uploaded(in_process, tmp_path, {FOLDERS[0]: 25, FOLDERS[1]: 7, "emu": 1})
    asked = in_process.request.model_copy(
        update={"measurements": {NAME: {"dataset": second}}, "max_pictures": 70, "batch_size": 32}
    )
    job = in_process.queue.submit(asked).id
    work(in_process.queue)
    record = in_process.queue.get(job)
    assert record.state is JobState.SUCCEEDED, record
    assert (record.done, record.total) == (70 + 33, 70 + 33)
    report = json.loads(in_process.files(job)["report.json"])
    (section,) = report["sections"]
    numbers = {e["of"]: e["figure"]["n"] for e in section["entries"] if e["metric"] == "false_trigger_rate"}
    assert numbers == {None: 25, FOLDERS[0]: 25, FOLDERS[1]: 7}
    assert report["findings"]["skipped"]["class_not_in_bank"] == 1
    assert report["headline"]["withheld"] == "cue-swaps was not measured"


def test_a_second_data_set_that_is_not_there_or_of_other_classes_is_refused_by_name(
    installation: Installation, tmp_path: Path
) -> None:
    def submit(second: str) -> None:
        asked = installation.request.model_copy(update={"measurements": {NAME: {"dataset": second}}})
        installation.queue.submit(asked)

    with pytest.raises(NotFound) as missing:
        submit("f" * 64)
    assert missing.value.field == "measurements.spurious-only.dataset"
    with pytest.raises(Invalid, match="none of the data set's 1 classes") as other:
        submit(uploaded(installation, tmp_path, {"emu": 2}))
    assert other.value.field == "measurements.spurious-only.dataset"
