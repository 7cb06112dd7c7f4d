"""The demonstration: masks of a few pictures and one audit, over HTTP, on a stack that is gone at the end."""

from __future__ import annotations

import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.errors import Invalid, NotFound
from jobs.image_folder import PICTURE_SUFFIXES
from jobs.settings import Settings
from models.shipped import shipped_classifiers
from service.client import Client
from service.commands.audit import finish, submit
from service.commands.classifiers import read_spec, send_classifier
from service.commands.datasets import send_dataset
from service.console import err, lines, out, picture_progress
from service.overlays import overlay, upright
from service.stack import Stack, free_port

PLANTED = "planted"
PER_CLASS = 200
SEED = 7
"""Of the planted pictures drawn for the demonstration; those of the bank and the classifiers have other seeds."""
DEFAULT_CLASSIFIERS = {PLANTED: "planted-5", "cifar10": "cifar10-classifier"}
DRAWN = f"drawn here, no photographs: the planted scenes of models/planted, seed {SEED}; Apache-2.0 like the code"
SHOWN = 6
"""Pictures whose masks are shown, each of another class."""
MOST_PICTURES = 10_000
"""Pictures audited of a larger data set; `cuecheck audit` takes all."""


@dataclass(frozen=True)
class Subjects:
    """What the demonstration is about.

    Attributes:
        source: where the pictures come from, in words.
        shipped: whether the classifier comes with the software.
    """

    bank: str
    archive: Path
    model: Path
    spec: Path
    source: str
    shipped: bool


def run(bank: str, data: Path | None, classifier: str | None, folder: Path) -> None:
    """Run the demonstration; whatever happens, nothing is left running.

    Args:
        bank: Name of the feature bank.
        data: Zip of class folders; the planted pictures are drawn where left out.
        classifier: Name of a shipped classifier, or path of an ONNX file with its declaration beside it; one that goes
            with the bank where left out.
        folder: Takes the overlays, the report, the service's data and its logs.

    Raises:
        NotFound, Invalid: The bank comes without pictures or classifier and none were named, or a file is missing.
        JobsError, ClientError: Something did not work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subjects = _subjects(bank, data, classifier, folder)
    settings = Settings(
        data_dir=folder / "data",
        store_url=f"file://{(folder / 'data' / 'store').resolve()}",
        host="127.0.0.1",
        port=free_port(),
        auth="off",
        default_bank=bank,
    )
    # Without what the last run left, or its audit would be found done; with its caches.
    for part in ("store", "redis", "logs"):
        shutil.rmtree(settings.data_dir / part, ignore_errors=True)
    began = time.monotonic()
    stack = Stack(settings, own_redis=True, say=err.print)
    try:
        with err.status("starting Redis, the service and a worker"):
            stack.start()
        out.print(f"[bold]started[/] in {time.monotonic() - began:.1f} s at {stack.url}")
        out.print(f"models run on {stack.runs_on()}")
        with Client(stack.url) as client:
            _origins(client, subjects)
            _masks(client, subjects, folder / "overlays")
            _audit(client, subjects, folder)
    finally:
        stack.stop()
    out.print("nothing is left running")


def _origins(client: Client, subjects: Subjects) -> None:
    """Say where pictures, labels and classifier come from, and under which licence."""
    bank = client.bank(subjects.bank)
    rows = [
        ("pictures", subjects.source),
        ("bank", f"{bank.title}; labels by {bank.labeller}; {bank.licence}"),
        ("classifier", f"{subjects.model.name}, {'shipped' if subjects.shipped else 'as given'}"),
    ]
    lines("What it runs on", rows)


def _masks(client: Client, subjects: Subjects, folder: Path) -> None:
    """Send a few pictures, save their overlays and say what was found."""
    folder.mkdir(exist_ok=True)
    pictures = _one_of_each_class(subjects.archive)
    began = time.monotonic()
    answer = client.masks(pictures, {"bank": subjects.bank, "classes": "predicted", "size": "original"})
    out.print(f"\n[bold]masks[/] of {len(pictures)} pictures in {time.monotonic() - began:.2f} s over HTTP")
    for (name, data), found in zip(pictures, answer.pictures, strict=True):
        for asked in found.classes or []:
            target = folder / f"{name.replace('/', '-').rpartition('.')[0]}.png"
            overlay(upright(data), asked).save(target)
            parts = asked.contributions
            out.print(
                f"  {asked.name} {asked.probability:.0%}: core {parts.core:+.2f}, spurious {parts.spurious:+.2f}, "
                f"unlabelled {parts.unlabelled:+.2f}  ->  {target}",
                soft_wrap=True,
            )


def _audit(client: Client, subjects: Subjects, folder: Path) -> None:
    """Upload, audit, follow, and print what was found."""
    out.print(f"\n[bold]audit[/] of {subjects.model.name} on {subjects.archive.name} with the bank {subjects.bank}")
    classifier = send_classifier(client, subjects.model, read_spec(subjects.spec))
    dataset = send_dataset(client, subjects.archive)
    if dataset.pictures > MOST_PICTURES:
        out.print(f"{MOST_PICTURES:,} of its {dataset.pictures:,} pictures; `cuecheck audit` takes all")
    request = {
        "classifier": classifier.id,
        "dataset": dataset.id,
        "bank": subjects.bank,
        "max_pictures": MOST_PICTURES,
    }
    finish(client, submit(client, request), folder)


def _subjects(bank: str, data: Path | None, classifier: str | None, folder: Path) -> Subjects:
    if data is None:
        if bank != PLANTED:
            raise NotFound(
                f"The bank {bank!r} comes without pictures.",
                field="data",
                remedy="Name a zip of class folders: DATA=...",
            )
        data, source = _planted_archive(folder), DRAWN
    else:
        source = f"{data.name}, as given: its publisher says what may be done with it"
    if not zipfile.is_zipfile(data):
        raise Invalid(f"{data} is not a zip.", field="data", remedy="Name a zip of class folders: DATA=...")
    shipped = shipped_classifiers()
    name = classifier or DEFAULT_CLASSIFIERS.get(bank)
    if name is None:
        raise NotFound(
            f"No classifier is shipped for the bank {bank!r}.",
            field="classifier",
            remedy="Name an ONNX file with its declaration beside it: CLASSIFIER=...",
        )
    if name in shipped:
        return Subjects(bank, data, shipped[name].model, shipped[name].spec, source, shipped=True)
    model = Path(name)
    if not model.is_file():
        raise NotFound(
            f"{name!r} is neither a file nor a shipped classifier.",
            field="classifier",
            remedy=f"Shipped are {', '.join(shipped)}.",
        )
    return Subjects(bank, data, model, model.with_suffix(".spec.json"), source, shipped=False)


def _planted_archive(folder: Path) -> Path:
    """The planted pictures, drawn at the first run."""
    from models.planted.archive import write_archive
    from models.planted.scenes import CLASSES

    archive = folder / f"planted-{PER_CLASS}-{SEED}.zip"
    if not archive.exists():
        with picture_progress("drawing pictures", PER_CLASS * len(CLASSES)) as advance:
            write_archive(archive, PER_CLASS, SEED, progress=advance)
    return archive


def _one_of_each_class(archive: Path) -> list[tuple[str, bytes]]:
    """Name and bytes of the first picture of each of the first classes."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist():
            parent = PurePosixPath(name).parent.name
            if parent and PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES:
                found.setdefault(parent, name)
            if len(found) == SHOWN:
                break
        return [(name, members.read(name)) for name in found.values()]
