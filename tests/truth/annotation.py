"""A scripted annotator labels a draft of planted pictures over HTTP; its labels are set against the exact masks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from jobs.annotation_publication import PublishRequest
from jobs.annotation_results import PanelResult, Results
from jobs.discovery_request import DiscoveryRequest
from jobs.settings import Settings
from models.planted.archive import write_archive
from models.planted.scenes import CLASSES
from models.training.progress import progress
from models.training.recipes import PLANTED_TEST_RATES
from service.annotating import AnnotationRequest
from service.client import Client
from service.commands.waiting import await_end
from service.console import err
from service.schemas import BankFeature
from service.stack import Stack, free_port
from tests.truth.exact import RULES, Exact
from tests.truth.person import Person
from tests.truth.scoring import Figures, Row, figures

PER_CLASS, SEED = 200, 81
"""Pictures of each class, and their seed: nothing was trained, labelled or tried out on it."""

FIRST, CHANNELS = 5, 10
"""Features of each class: as many as Salient ImageNet labelled, and twice as many."""

ATTACK_STEPS = 10
"""Fewer than a draft has by default: the script does not look at the attacks."""

BANK = "scripted"


@dataclass(frozen=True)
class Answered:
    """What the service knows in the end.

    said: by panel. labels: in the published bank, by panel. samples: by panel, the names of its pictures.
    """

    said: dict[str, PanelResult]
    labels: dict[str, BankFeature]
    samples: dict[str, list[str]]
    results: Results


@dataclass(frozen=True)
class Measured:
    """Everything that the document says. accuracy: of the encoder on the pictures."""

    pictures: int
    accuracy: float
    rows: list[Row]
    figures: list[Figures]


def measure(work: Path) -> Measured:
    """Label and score. work: folder that keeps the drawn pictures, and the data and logs of the service."""
    work.mkdir(parents=True, exist_ok=True)
    archive = work / f"planted-{PER_CLASS}-{SEED}.zip"
    if not archive.exists():
        with progress("drawing pictures", PER_CLASS * len(CLASSES)) as advance:
            write_archive(archive, PER_CLASS, SEED, PLANTED_TEST_RATES, progress=advance)
    answered, accuracy = annotate(archive, work)
    exact = Exact(archive, PLANTED_TEST_RATES)
    with progress("looking at the exact masks", len(answered.said)) as advance:
        rows = []
        for panel in answered.said:
            rows.append(_row(answered, panel, exact))
            advance()
    scored = [figures(rows, rule, first) for first in (FIRST, CHANNELS) for rule in RULES]
    return Measured(PER_CLASS * len(CLASSES), accuracy, rows, scored)


def annotate(archive: Path, work: Path) -> tuple[Answered, float]:
    """Discover, invite the script, let it answer both rounds, publish; also the encoder's accuracy."""
    data = work / "data"
    settings = Settings(data_dir=data, store_url=f"file://{(data / 'store').resolve()}", port=free_port(), auth="off")
    shutil.rmtree(data, ignore_errors=True)  # or the last run's discovery would be found done
    with Stack(settings, own_redis=True, say=err.print) as stack, Client(stack.url) as owner:
        dataset = owner.upload_dataset(archive).id
        request = DiscoveryRequest(
            dataset=dataset, encoder="bank:planted", channels=CHANNELS, attack_steps=ATTACK_STEPS
        )
        discovery = owner.submit_discovery(request)
        await_end(owner, discovery)
        asked = AnnotationRequest(draft=discovery.id, answers_per_panel=1, threshold=1)
        annotation = owner.annotations.start(asked).id
        with Client(stack.url, key=owner.annotations.invite(annotation, "Script").token) as invited:
            person = Person(invited.label)
            person.label_all()
            drawing = owner.annotations.open_validation(annotation).validation_job
            await_end(owner, owner.job(str(drawing)))
            person.validate_all()
        wanted = PublishRequest(name=BANK, title="Planted pictures as a script sees them", licence="Apache-2.0")
        owner.annotations.publish(annotation, wanted)
        answered = Answered(
            said={one.panel: one for one in owner.annotations.panels(annotation)},
            labels={
                f"{index}-{feature.feature}": feature
                for index, name in enumerate(CLASSES)
                for feature in owner.bank_features(BANK, name).features
            },
            samples={
                f"{one.class_index}-{one.feature_index}": [exemplar.sample for exemplar in one.exemplars]
                for name in CLASSES
                for one in owner.draft_class(discovery.id, name).candidates
            },
            results=owner.annotations.results(annotation),
        )
        return answered, owner.draft(discovery.id).accuracy or 0.0


def _row(answered: Answered, panel: str, exact: Exact) -> Row:
    said, given = answered.said[panel], answered.labels[panel]
    (answer,) = said.answers
    validated = answered.results.validated
    place = said.class_index, said.feature_index
    return Row(
        class_name=said.class_name,
        feature=said.feature_index,
        rank=said.rank,
        answer=answer.kind,
        confidence=answer.confidence or 0,
        reason=answer.reason,
        label=given.label,
        kind=given.kind,
        validated=validated is not None and panel not in validated.rejected,
        panel=exact.verdicts(*place, answered.samples[panel]),
        top=exact.verdicts(*place, exact.top(*place)),
    )
