"""The spurious score of planted artefacts, against classifiers that rely on one by construction."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jobs.audit_request import AuditRequest
from jobs.datasets import Sample
from jobs.measurements.artefacts import DIFFERENCE, NAME, SCORE
from jobs.sections import Entry, Section
from models.bank import Bank
from models.bank_folders import find_banks
from models.planted.scenes import draw_scenes
from models.training.pictures import LabelledPictures, read_archive
from models.training.planted_pictures import draw_pictures
from models.training.progress import progress
from models.training.recipes import PLANTED_TEST_RATES
from tests.truth.artefact_panel import PLANTED, Reliant, make_reliant
from tests.truth.audits import JUDGING_SEED, SEED, audit, remembering
from tests.truth.outcomes import Outcomes

PER_CLASS, JUDGED = 40, 300
FREE = 0.02
"""An artefact that turns at most this share of other pictures into a class hardly speaks for it."""

BANKS = {"planted-0": "planted", "cifar10-classifier": "cifar10"}

REQUEST = AuditRequest(classifier="panel", dataset="planted", measurements={NAME: {"artefacts": list(PLANTED)}})


@dataclass(frozen=True)
class Scored:
    """What is true of one classifier and what the audit says of its target class and of all others.

    Attributes:
        name, base, artefact, target: of the classifier.
        truth: share of other classes' pictures that the artefact turns into the target.
        score, difference: the spurious score of that artefact and class, and beyond the control.
        flagged: whether that is flagged.
        alarms: pairs of artefact and class that are flagged though the artefact hardly turns anything into the class.
        free: how many such pairs were tested.
    """

    name: str
    base: str
    artefact: str
    target: str
    truth: float
    score: float | None
    difference: float | None
    flagged: bool
    alarms: int
    free: int


def measure_artefacts(folder: Path, cifar10: Path | None) -> list[Scored]:
    """Audit every classifier of the panel; without the pictures of CIFAR-10 (a zip of its test set), those of planted.

    Args:
        folder: takes the panel's files and the outcomes.
        cifar10: one folder of pictures per class.
    """
    found = []
    outcomes = Outcomes(folder / "outcomes")
    judge = cache(partial(_Judge, cifar10))
    panel = [own for own in make_reliant(folder) if cifar10 is not None or own.base != "cifar10-classifier"]
    with progress("auditing classifiers that rely on artefacts", len(panel)) as advance:
        for own in panel:
            of = {"classifier": own.name, "target": own.target, "spec": own.spec.model_dump(mode="json")}
            files = {"file": own.path}
            if own.base == "cifar10-classifier" and cifar10 is not None:
                files["pictures"] = cifar10
            found.append(Scored(**outcomes.once(own.path.stem, of, files, partial(_audited, judge, own))))
            advance(own.name)
    return found


def _audited(judge: Callable[[str], _Judge], own: Reliant) -> dict[str, Any]:
    return asdict(judge(own.base).scored(own))


class _Judge:
    """Audits the classifiers made of one base on the same pictures, and measures what is true of them."""

    def __init__(self, cifar10: Path | None, base: str) -> None:
        """Draw or read all pictures."""
        audited, self._judged = _pictures(base, cifar10)
        self._classes, self._samples = audited.classes, _samples(audited)
        self._bank = Bank.load(find_banks()[BANKS[base]])
        self._backbone = remembering(self._bank.backbone(threads=1))

    def scored(self, own: Reliant) -> Scored:
        """One classifier."""
        _, sections = audit(own.open(), own.spec, self._bank, self._backbone, self._samples, self._classes, REQUEST)
        truth = {artefact: own.truth(self._judged, artefact) for artefact in PLANTED}
        return _scored(own, truth, sections[0])


def _pictures(base: str, cifar10: Path | None) -> tuple[LabelledPictures, LabelledPictures]:
    """Those that are audited, and others that truth is measured on."""
    if base == "planted-0":
        scenes = (draw_scenes(count, seed, PLANTED_TEST_RATES) for count, seed in ((400, SEED), (JUDGED, JUDGING_SEED)))
        first, second = (draw_pictures(own) for own in scenes)
        return first, second
    assert cifar10 is not None
    every = read_archive(cifar10).spread(2 * 10 * PER_CLASS)
    rows = range(len(every))
    return every.subset(rows[::2]), every.subset(rows[1::2])


def _samples(pictures: LabelledPictures) -> list[Sample]:
    found: list[Sample] = []
    for image, label in zip(pictures.images, pictures.labels.tolist(), strict=True):
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "BMP")
        found.append(Sample(len(found), f"{pictures.classes[label]}/{len(found)}", label, stream.getvalue()))
    return found


def _scored(own: Reliant, truth: Mapping[str, np.ndarray], section: Section) -> Scored:
    differences = [e for e in section.entries if e.metric == DIFFERENCE.metric.name and e.of is not None]
    place = {name: index for index, name in enumerate(own.spec.classes)}
    free = [e for e in differences if truth[e.part or ""][place[e.of or ""]] <= FREE and e.p_value is not None]
    difference = _of(differences, own)
    score = _of([e for e in section.entries if e.metric == SCORE.metric.name], own)
    return Scored(
        name=own.name,
        base=own.base,
        artefact=own.artefact,
        target=own.target,
        truth=float(truth[own.artefact][place[own.target]]),
        score=score.figure.value if score else None,
        difference=difference.figure.value if difference else None,
        flagged=difference is not None and difference.flagged,
        alarms=sum(e.flagged for e in free),
        free=len(free),
    )


def _of(entries: Sequence[Entry], own: Reliant) -> Entry | None:
    return next((e for e in entries if (e.part, e.of) == (own.artefact, own.target)), None)
