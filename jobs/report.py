"""The report of an audit: what was found, in words and figures, and everything needed to find it again.

Nothing in it depends on when or how fast the audit ran: equal inputs and seed give equal bytes. `python -m jobs.report`
prints the JSON schema, which is kept as `docs/report.schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from jobs.audit_request import AuditRequest
from jobs.audit_subjects import RanOn
from jobs.classifiers import ClassifierRecord
from jobs.counts import Counts, SkippedSample
from jobs.datasets import DatasetRecord
from jobs.figures import MINIMUM_PICTURES, Figure
from jobs.findings import ClassFindings, Findings, Model, Verdict
from jobs.reduction import LARGEST_OVERLAP
from jobs.sections import ERROR_RATE, Section
from models.bank import Bank
from models.preprocessing import Preprocessing
from models.statistics import DRAWS

MOST_NAMES = 8

METHOD = (
    "Every picture is classified as it is and with Gaussian noise where a soft mask says that labelled features of its "
    "class lie (Salient ImageNet, ICLR 2022). Core accuracy is the accuracy with noise on the spurious features, "
    "spurious accuracy that with noise on the core features.",
    "A feature counts on a picture only where it is as strong as on the pictures people (or the labeller named below) "
    "saw when they labelled it.",
    "Noise on a large region costs more than noise on a small one wherever it lies. So every mask has an area-matched "
    "control: the same mask, with the same noise, moved to where it overlaps least with the tested and the core "
    "features. What noise costs beyond its control is due to where it lies.",
    "RCS, relative core sensitivity, compares noise outside the core features with noise on them: 1 means that only "
    "the core matters, −1 that only the rest does (CoRM, arXiv 2203.15566).",
    "Evidence is the log-odds the classifier gives to the class, in nats; it still moves where accuracy is perfect.",
    "The swap gap, the headline, compares two changed pictures: where a picture or its donor shows spurious features, "
    "and neither shows core features, the donor's pixels take their place. One donor is of the same class, one of "
    "another. Both are pasted alike, so the accuracy lost from the first to the second is lost to what the features "
    "say (the BG-Gap of “Noise or Signal”, ICLR 2021, with masks of features). Parts of a donor's object that masks "
    "miss are pasted with the rest, so a gap of a few points may be due to them. The swap pull of a class asks the "
    "reverse: how much more often pictures of other classes are taken for it with its features than with their own.",
    "A class is flagged where the control is right more often than the tested spurious mask on the same pictures "
    "(McNemar's exact test); where noise on the spurious features takes evidence beyond its control, and more than "
    "noise on the core features does (normal tests, and only where the control could get away); where spurious "
    "features of another class turn most of the right answers wrong (exact binomial test); or where its own, given to "
    "pictures of other classes, turn more of them into it than away from it (McNemar's exact test). One-sided at "
    f"{100 * ERROR_RATE:g} % after correction for all tests made (Bonferroni) and over the classes (Benjamini and "
    "Hochberg), and only if the 95 % intervals of these differences lie above 0.",
    "Intervals are 95 %: Wilson's for accuracies, the normal one for evidence, a smoothed bootstrap of paired outcomes "
    f"({DRAWS:,} draws, within classes for means over classes) for the rest. Figures on fewer than {MINIMUM_PICTURES} "
    "pictures are withheld.",
)

RESERVATIONS = (
    "The masks show where the bank's backbone sees these features, not what the audited classifier looks at; what "
    "noise there does to the classifier is measured on the classifier itself.",
    "Noisy and pasted pictures are unlike those a classifier was trained on, and one trained with noise will look "
    "better. Compare classifiers only under the same bank, data set, noise and seed.",
    "Only features that somebody labelled are tested: a class that is not flagged may rely on others.",
    "Where a mask covers more than about half of the picture its control cannot avoid the same place: differences are "
    f"then understated, and above {100 * LARGEST_OVERLAP:.0f} % of overlap their absence counts as “cannot tell”.",
)


class ClassifierSubject(Model):
    """The audited classifier."""

    id: str = Field(description="sha256 of its declaration and file.")
    file: str = Field(description="sha256 of its file.")
    name: str
    version: str
    format: str
    architecture: str | None
    outputs: int
    preprocessing: Preprocessing


class DatasetSubject(Model):
    """The pictures."""

    id: str = Field(description="sha256 of the uploaded archive.")
    name: str
    pictures: int
    classes: int


class BankSubject(Model):
    """The labels, and the backbone they belong to."""

    name: str
    title: str
    digest: str
    labeller: str
    licence: str
    architecture: str
    preprocessing: Preprocessing


class Shards(Model):
    """How many shards were computed on what."""

    shards: int
    ran_on: RanOn


class Report(Model):
    """`report.json`."""

    schema_version: Literal[2] = 2
    audit: str = Field(description="Id of the audit, the digest of its inputs.")
    code_version: str
    answer: str = Field(description="The outcome in plain words.")
    verdict: Verdict
    flagged: list[str] = Field(description="Classes shown to rely on spurious features, by falling evidence.")
    unjudged: list[str] = Field(description="Classes with spurious features about which nothing can be said.")
    headline: Figure = Field(description="The one figure that orders classifiers by reliance; lower is better.")
    classifier: ClassifierSubject
    dataset: DatasetSubject
    bank: BankSubject
    parameters: AuditRequest
    ran_on: list[Shards] = Field(description="Devices and providers that really ran.")
    findings: Findings
    sections: tuple[Section, ...] = Field((), description="Of the measurements that add to these findings.")
    skipped_samples: list[SkippedSample] = Field(description="The first samples not audited; all are in the table.")
    skipped_table: str = Field("skipped.parquet", description="Artefact that lists every sample not audited.")
    method: tuple[str, ...] = Field(METHOD, description="How the figures come about.")
    reservations: tuple[str, ...] = Field(RESERVATIONS, description="What the figures cannot say.")

    def to_json(self) -> bytes:
        """`report.json`: equal reports give equal bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def make_report(
    audit: str,
    code_version: str,
    request: AuditRequest,
    classifier: ClassifierRecord,
    dataset: DatasetRecord,
    bank: Bank,
    counts: Counts,
    findings: Findings,
    sections: Sequence[Section] = (),
) -> Report:
    """Put findings into words, beside what they were found on."""
    flagged = sorted(
        (c for c in findings.classes if c.verdict == "relies"),
        key=lambda c: -(c.spurious_evidence.value or 0),
    )
    unjudged = [c.name for c in findings.classes if c.verdict == "cannot_tell"]
    judged = [c for c in findings.classes if c.verdict in ("relies", "not_shown")]
    return Report(
        audit=audit,
        code_version=code_version,
        answer=_answer([c.name for c in flagged], judged, unjudged),
        verdict=_verdict(flagged, judged, findings.classes),
        flagged=[c.name for c in flagged],
        unjudged=unjudged,
        headline=findings.overall.swap_gap.class_mean,
        classifier=ClassifierSubject(
            id=classifier.id,
            file=classifier.blob,
            name=classifier.spec.name,
            version=classifier.spec.version,
            format=classifier.spec.format,
            architecture=classifier.spec.architecture,
            outputs=len(classifier.spec.classes),
            preprocessing=classifier.spec.preprocessing,
        ),
        dataset=DatasetSubject(
            id=dataset.id, name=dataset.name, pictures=dataset.pictures, classes=len(dataset.classes)
        ),
        bank=BankSubject(
            name=bank.name,
            title=bank.manifest.title,
            digest=bank.digest,
            labeller=bank.manifest.labeller,
            licence=bank.manifest.licence,
            architecture=bank.manifest.backbone.architecture,
            preprocessing=bank.manifest.backbone.preprocessing,
        ),
        parameters=request,
        ran_on=[
            Shards(shards=number, ran_on=RanOn.model_validate_json(ran_on))
            for ran_on, number in sorted(counts.ran_on.items())
        ],
        findings=findings,
        sections=tuple(sections),
        skipped_samples=counts.skipped_samples,
    )


def schema() -> str:
    """The JSON schema of `report.json`, as published."""
    return json.dumps(Report.model_json_schema(mode="serialization"), indent=1) + "\n"


def _verdict(
    flagged: Sequence[ClassFindings], judged: Sequence[ClassFindings], classes: Sequence[ClassFindings]
) -> Verdict:
    if flagged:
        return "relies"
    if judged:
        return "not_shown"
    known = any(c.verdict != "no_spurious_features" for c in classes)
    return "cannot_tell" if known or not classes else "no_spurious_features"


def _answer(flagged: Sequence[str], judged: Sequence[ClassFindings], unjudged: Sequence[str]) -> str:
    if len(judged) == 1:
        could = "the one class that could be judged"
    else:
        could = f"the {len(judged):,} classes that could be judged"
    if len(flagged) == len(judged) > 0:
        first = f"This classifier relies on spurious features in {could}: {_names(flagged)}."
    elif flagged:
        first = f"This classifier relies on spurious features in {len(flagged):,} of {could}: {_names(flagged)}."
    elif judged:
        first = f"No reliance on spurious features was shown in {could}."
    elif unjudged:
        first = "This audit cannot tell whether the classifier relies on spurious features."
    else:
        first = "The bank knows no spurious feature of the audited classes, so there was nothing to test."
    rest = f" Nothing can be said about {_names(unjudged)}." if unjudged else ""
    return first + rest


def _names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) > MOST_NAMES:
        return ", ".join(names[:MOST_NAMES]) + f" and {len(names) - MOST_NAMES:,} more"
    return ", ".join(names[:-1]) + f" and {names[-1]}"


if __name__ == "__main__":
    print(schema(), end="")
