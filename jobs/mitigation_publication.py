"""The last step of a mitigation: from the shards of both audits to their reports and the comparison."""

from __future__ import annotations

from jobs.audit_subjects import scope_of
from jobs.classifiers import ClassifierRecord, get_classifier
from jobs.comparison import compare
from jobs.counts import Counts
from jobs.datasets import get_dataset, get_pictures
from jobs.errors import NotFound
from jobs.measurement import Scope
from jobs.mitigation_files import MitigationFiles, Part
from jobs.mitigation_page import render_html, render_markdown
from jobs.mitigation_report import FORMER, JUDGED, METHODS, MitigationReport, answer_of, outcome_of
from jobs.mitigation_request import MitigationRequest
from jobs.mitigation_subjects import MitigationSubjects
from jobs.pairing import Pairing
from jobs.reduction import find
from jobs.report import Report, make_report
from jobs.report_page import render_html as render_audit

REPORT = "mitigation.json"


def publish(files: MitigationFiles, found: MitigationSubjects, request: MitigationRequest, code_version: str) -> None:
    """Write both audits' reports, the comparison as HTML and Markdown and, last, as JSON."""
    store, changed = files.store, files.changed()
    if changed is None:
        raise NotFound("The changed classifier is not there.", field="classifier")
    after = get_classifier(store, changed.classifier)
    asked = request.audit(found.classifier.id)
    # the changed classifier has the outputs of the other
    scope = scope_of(found.bank, found.judged, get_pictures(store, asked.dataset), asked.seed)
    reports: dict[str, Report] = {}
    audited: list[tuple[Part, ClassifierRecord]] = [("before", found.classifier), ("after", after)]
    for part, record in audited:
        reports[part] = _audited(files, scope, request, record, part, code_version)
        store.write_bytes(files.name(f"audit-{part}.html"), render_audit(reports[part], [], []).encode())
        store.write_bytes(files.name(f"audit-{part}.json"), reports[part].to_json())
    pairing = Pairing(found.bank, (asked, asked), (scope, scope))
    pairing.take_in(lambda columns: zip(files.read("after", columns), files.read("before", columns), strict=True))
    comparison = compare(reports["after"], reports["before"], pairing, code_version)
    report = MitigationReport(
        mitigation=files.job,
        code_version=code_version,
        answer=answer_of(comparison),
        outcome=outcome_of(comparison),
        before=comparison.baseline_classifier,
        after=comparison.classifier,
        patched=f"patched.{after.spec.format}",
        bank=reports["before"].bank,
        parameters=request,
        fitted=sum(files.plan.fitted),
        judged=comparison.pictures or 0,
        loss=changed.loss,
        classes=tuple(changed.classes),
        comparison=comparison,
        method=METHODS[request.method] + (FORMER[request.method] if changed.former_spufix else ()) + JUDGED,
    )
    store.write_bytes(files.name("mitigation.html"), render_html(report).encode())
    store.write_bytes(files.name("mitigation.md"), render_markdown(report).encode())
    store.write_bytes(files.name(REPORT), report.to_json())


def _audited(
    files: MitigationFiles,
    scope: Scope,
    request: MitigationRequest,
    record: ClassifierRecord,
    part: Part,
    code_version: str,
) -> Report:
    """The report of one of the two audits, as of any audit of these pictures alone."""
    asked, bank = request.audit(record.id), scope.bank
    tallies = [tally for own, chosen in asked.chosen() if (tally := own.tally(scope, chosen)) is not None]
    counts, waiting = Counts(bank), tallies
    for table in files.read(part):
        counts.add(table)
        for tally in waiting:
            tally.add(table)
    while waiting := [tally for tally in tallies if tally.again()]:
        for table in files.read(part):
            for tally in waiting:
                tally.add(table)
    sections = [tally.section() for tally in tallies]
    dataset = get_dataset(files.store, asked.dataset)
    findings = find(counts, bank, asked.seed)
    return make_report(f"{files.job}-{part}", code_version, asked, record, dataset, bank, counts, findings, sections)
