"""The last step of an audit: from the shards' files to the report and the table of skipped samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import rows
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import scope_of
from jobs.class_map import map_classes
from jobs.classifiers import get_classifier
from jobs.counts import Counts
from jobs.datasets import get_dataset, get_pictures, read_rows
from jobs.examples import Viewer, exhibits, swap_exhibits
from jobs.measurement import Tally
from jobs.model_card import model_card
from jobs.outcomes import COLUMNS
from jobs.reduction import find
from jobs.report import make_report
from jobs.report_page import render_html
from jobs.settings import Settings
from jobs.shards import ShardPlan
from jobs.store import Store
from jobs.subjects import find_bank, load_backbone
from jobs.unmeasured import explained

SKIPPED_COLUMNS = ("sample", "row", "class", "reason", "detail")


def publish(store: Store, settings: Settings, request: AuditRequest, plan: ShardPlan, code_version: str) -> None:
    """Write skipped samples, page, model card and, last, `report.json`, whose presence means that all are there.

    One shard's table is in memory at a time, and the counts, whose size depends on the bank alone.

    Args:
        store: Holds the shards' files and takes the report.
        settings: What the few example pictures are computed with.
        request: Its bank named by digest, so that the bytes do not depend on how it was named.
        plan: All of its shards are done.
        code_version: As in the audit's id.
    """
    bank = find_bank(settings, request.bank)
    classifier, dataset = get_classifier(store, request.classifier), get_dataset(store, request.dataset)
    folder = f"audits/{plan.job}"
    classes = map_classes(bank, dataset.classes, classifier.spec.classes, request.class_map, request.classes)
    scope = scope_of(bank, classes, get_pictures(store, dataset.id), request.seed)
    tallies = [tally for own, asked in request.chosen() if (tally := own.tally(scope, asked)) is not None]
    with store.scratch_file() as skipped:
        counts = Counts(bank)
        for table in _aside(_tables(store, plan, tallies, (*SKIPPED_COLUMNS, *COLUMNS)), skipped):
            counts.add(table)
            for tally in tallies:
                tally.add(table)
        store.write_file(f"{folder}/skipped.parquet", skipped)
    _take_in_again(tallies, store, plan)
    findings = explained(find(counts, bank, request.seed), request.measurements)
    sections = [tally.section() for tally in tallies]
    report = make_report(plan.job, code_version, request, classifier, dataset, bank, counts, findings, sections)
    viewer = Viewer(
        bank=bank,
        backbone=load_backbone(bank, settings),
        classifier=classifier.spec.preprocessing,
        of_label=classes.of_label,
        read=lambda wanted: read_rows(store, dataset.id, wanted),
        max_pixels=settings.max_pixels,
    )
    shown = exhibits(findings.classes, counts.worst, viewer, request)
    swapped = swap_exhibits(findings.classes, counts.worst_swaps, viewer)
    store.write_bytes(f"{folder}/report.html", render_html(report, shown, swapped).encode())
    store.write_bytes(f"{folder}/model-card.md", model_card(report).encode())
    store.write_bytes(f"{folder}/report.json", report.to_json())


def _take_in_again(tallies: Sequence[Tally], store: Store, plan: ShardPlan) -> None:
    """All tables once more, for those tallies that ask for it, until none does."""
    while waiting := [tally for tally in tallies if tally.again()]:
        for table in _tables(store, plan, waiting):
            for tally in waiting:
                tally.add(table)


def _tables(store: Store, plan: ShardPlan, tallies: Sequence[Tally], further: Sequence[str] = ()) -> Iterator[pa.Table]:
    """Of each shard what these tallies read, and further columns."""
    wanted: set[str] | None = set(further)
    for tally in tallies:
        wanted = None if wanted is None or tally.reads is None else wanted | set(tally.reads)
    columns = None if wanted is None else sorted(wanted)
    for shard in range(plan.shards):
        with store.open(plan.file("audits", shard)) as file:
            yield pq.read_table(file, columns=columns)


def _aside(tables: Iterator[pa.Table], path: Path) -> Iterator[pa.Table]:
    """The tables unchanged; their skipped samples are written to `path` on the way."""
    schema = pa.schema([rows.SCHEMA.field(name) for name in SKIPPED_COLUMNS])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            skipped = table.filter(pc.equal(table["variant"], rows.SKIPPED)).select(SKIPPED_COLUMNS)
            if skipped.num_rows:
                writer.write_table(skipped.cast(schema))
            yield table
