"""The last step of a mitigation: from the shards of both audits to their reports and the comparison."""

from __future__ import annotations

from jobs.audit import scope_of
from jobs.classifiers import ClassifierRecord, get_classifier
from jobs.counts import Counts
from jobs.datasets import get_dataset, get_pictures
from jobs.errors import NotFound
from jobs.figures import Estimate, Figure, mean, points
from jobs.findings import Findings, Means
from jobs.mitigation_files import Changed, MitigationFiles, Part
from jobs.mitigation_page import render_html, render_markdown
from jobs.mitigation_pairs import CLEAN, GAP, OTHER, Pairs
from jobs.mitigation_report import JUDGED, METHODS, Change, ClassChange, MitigationReport, answer_of, outcome_of
from jobs.mitigation_request import MitigationRequest
from jobs.mitigation_subjects import MitigationSubjects
from jobs.reduction import find
from jobs.report import Report, make_report
from jobs.report_page import render_html as render_audit

REPORT = "mitigation.json"
TITLES: dict[str, tuple[str, str]] = {
    GAP: ("swap gap: accuracy lost to spurious features of other classes", "higher"),
    OTHER: ("accuracy with spurious features of another class", "lower"),
    CLEAN: ("accuracy on pictures as they are", "lower"),
}
AVERAGE = "on average over classes"


def publish(files: MitigationFiles, found: MitigationSubjects, request: MitigationRequest, code_version: str) -> None:
    """Write both audits' reports, the comparison as HTML and Markdown and, last, as JSON."""
    store, changed = files.store, files.changed()
    if changed is None:
        raise NotFound("The changed classifier is not there.", field="classifier")
    after = get_classifier(store, changed.classifier)
    reports: dict[str, Report] = {}
    audited: list[tuple[Part, ClassifierRecord]] = [("before", found.classifier), ("after", after)]
    for part, record in audited:
        reports[part] = _audited(files, found, request, record, part, code_version)
        store.write_bytes(files.name(f"audit-{part}.html"), render_audit(reports[part], [], []).encode())
        store.write_bytes(files.name(f"audit-{part}.json"), reports[part].to_json())
    pairs = Pairs(len(found.bank.classes))
    for before_table, after_table in zip(files.read("before"), files.read("after"), strict=True):
        pairs.add(before_table, after_table)
    report = _compared(files, found, request, changed, reports, pairs)
    store.write_bytes(files.name("mitigation.html"), render_html(report).encode())
    store.write_bytes(files.name("mitigation.md"), render_markdown(report).encode())
    store.write_bytes(files.name(REPORT), report.to_json())


def _audited(
    files: MitigationFiles,
    found: MitigationSubjects,
    request: MitigationRequest,
    record: ClassifierRecord,
    part: Part,
    code_version: str,
) -> Report:
    """The report of one of the two audits, as of any audit of these pictures alone."""
    asked, bank = request.audit(record.id), found.bank
    scope = scope_of(bank, found.judged, get_pictures(files.store, asked.dataset), asked.seed)
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
    return make_report(files.job, code_version, asked, record, dataset, bank, counts, findings, sections)


def _compared(
    files: MitigationFiles,
    found: MitigationSubjects,
    request: MitigationRequest,
    changed: Changed,
    reports: dict[str, Report],
    pairs: Pairs,
) -> MitigationReport:
    before, after = reports["before"], reports["after"]
    estimates = {own.index: pairs.estimates(own.index, request.seed) for own in before.findings.classes}
    together = {name: mean([own[name] for own in estimates.values()]) for name in TITLES}
    overall = tuple(
        _change(name, _mean_of(before.findings, name), _mean_of(after.findings, name), together[name], AVERAGE)
        for name in TITLES
    )
    done = {own.name: own for own in changed.classes}
    classes = tuple(
        ClassChange(
            name=own.name,
            done=done.get(own.name),
            changes=tuple(
                _change(name, getattr(own, name), getattr(later, name), estimates[own.index][name], f"of {own.name}")
                for name in TITLES
            ),
        )
        for own, later in zip(before.findings.classes, after.findings.classes, strict=True)
    )
    return MitigationReport(
        mitigation=files.job,
        code_version=before.code_version,
        answer=answer_of(overall),
        outcome=outcome_of(overall),
        before=before.classifier,
        after=after.classifier,
        patched=f"patched.{found.classifier.spec.format}",
        bank=before.bank,
        parameters=request,
        fitted=sum(files.plan.fitted),
        judged=pairs.pictures(estimates),
        loss=changed.loss,
        overall=overall,
        classes=classes,
        method=METHODS[request.method] + JUDGED,
    )


def _mean_of(findings: Findings, name: str) -> Figure:
    means: Means = getattr(findings.overall, name)
    return means.class_mean


def _change(name: str, before: Figure, after: Figure, estimate: Estimate, where: str) -> Change:
    title, worse = TITLES[name]
    what = {GAP: "the swap gap", OTHER: "accuracy with cues of another class", CLEAN: "accuracy"}[name]
    lead = f"Before less after ({'above' if worse == 'higher' else 'below'} 0 is an improvement): {what} changes by"
    return Change.model_validate(
        {
            "name": name,
            "title": title,
            "worse": worse,
            "before": before,
            "after": after,
            "difference": estimate.figure(lead, where, points),
        }
    )
