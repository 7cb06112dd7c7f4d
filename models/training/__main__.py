"""``python -m models.training RECIPE``: train the shipped networks and make their banks again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from models.bank_folders import BUILT_IN
from models.planted.scenes import draw_scenes
from models.shipped import CIFAR10, PLANTED_FAMILY
from models.training import discovery_tables, recipes
from models.training.artefacts import provenance, write_json
from models.training.classifier import right, train_classifier
from models.training.discovery_truth import Sizes, measure
from models.training.family import train_family
from models.training.pictures import read_archive
from models.training.planted_bank import make_planted_bank
from models.training.planted_pictures import draw_pictures
from models.training.robust import train_robust

DISCOVERY_TRUTH = Path("docs/discovery-truth.md")

app = typer.Typer(add_completion=False, no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Folder for weights, card and checkpoint; a checkpoint in it is resumed.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="CPU threads for torch.", min=1)]
Epochs = Annotated[int | None, typer.Option(help="Epochs instead of the recipe's.", min=1)]
Work = Annotated[Path, typer.Option(help="Folder for checkpoints and drawn pictures.")]
ClassifierOut = Annotated[Path, typer.Option(help="Folder for ONNX files, their declarations and card.")]
Trained = Annotated[Path, typer.Option(help="Folder that the backbone's recipe wrote.")]
BankOut = Annotated[Path, typer.Option(help="Folder of the bank to write.")]
Train = Annotated[Path, typer.Option(help="Zip of training pictures, one folder per class.")]
Test = Annotated[Path, typer.Option(help="Zip of held-out pictures, one folder per class.")]


@app.callback(help=__doc__)
def main() -> None:
    """The recipes are the commands."""


@app.command()
def planted_backbone(out: Out, device: Device = "cpu", threads: Threads = 2, epochs: Epochs = None) -> None:
    """Draw the planted pictures and adversarially train their backbone."""
    torch.set_num_threads(threads)
    plan = recipes.with_epochs(recipes.PLANTED_BACKBONE, epochs)
    training = draw_scenes(recipes.PLANTED_PICTURES, recipes.PLANTED_SEED, recipes.PLANTED_RATES)
    held_out = draw_scenes(recipes.PLANTED_HELD_OUT, recipes.PLANTED_HELD_OUT_SEED, recipes.PLANTED_TEST_RATES)
    others = {
        "cue_free": draw_pictures([scene.without_cues() for scene in held_out], out),
        "cues_swapped": draw_pictures([scene.with_cues_swapped() for scene in held_out], out),
    }
    train_robust(
        plan, draw_pictures(training, out), draw_pictures(held_out, out), out, torch.device(device), others=others
    )


@app.command()
def planted_bank(
    trained: Trained,
    bank: BankOut = BUILT_IN / "planted",
    threads: Threads = 2,
) -> None:
    """Label the planted backbone's features and write its bank."""
    torch.set_num_threads(threads)
    labelling = draw_scenes(recipes.PLANTED_LABELLING, recipes.PLANTED_LABELLING_SEED, recipes.PLANTED_TEST_RATES)
    judging = draw_scenes(recipes.PLANTED_JUDGING, recipes.PLANTED_JUDGING_SEED, recipes.PLANTED_TEST_RATES)
    judged = [scene.with_own_cues() for scene in judging]
    make_planted_bank(recipes.PLANTED_BACKBONE, trained, labelling, judged, bank)


@app.command()
def planted_family(
    work: Work,
    out: ClassifierOut = PLANTED_FAMILY,
    device: Device = "cpu",
    threads: Threads = 2,
    epochs: Epochs = None,
) -> None:
    """Train the ordinary classifiers of known reliance."""
    torch.set_num_threads(threads)
    train_family(
        recipes.with_epochs(recipes.PLANTED_CLASSIFIER, epochs),
        recipes.PLANTED_FAMILY,
        recipes.PLANTED_FAMILY_TRAINING,
        recipes.PLANTED_FAMILY_JUDGING,
        out,
        work,
        torch.device(device),
    )


@app.command()
def cifar10_classifier(
    train: Train,
    test: Test,
    work: Work,
    out: ClassifierOut = CIFAR10,
    device: Device = "cpu",
    threads: Threads = 2,
    epochs: Epochs = None,
) -> None:
    """Train the ordinary CIFAR-10 classifier."""
    torch.set_num_threads(threads)
    plan = recipes.with_epochs(recipes.CIFAR10_CLASSIFIER, epochs)
    classifier, minutes = train_classifier(
        plan, read_archive(train), "cifar10-classifier", out, work, torch.device(device)
    )
    held_out = read_archive(test)
    accuracy = {"clean": round(float(right(classifier, held_out).mean()), 4), "pictures": len(held_out)}
    write_json(out / "card.json", {"accuracy": accuracy, **provenance(plan, minutes, torch.device(device))})


@app.command()
def discovery_truth(
    work: Work,
    document: Annotated[Path, typer.Option(help="Markdown file whose tables are written.")] = DISCOVERY_TRUTH,
    device: Device = "cpu",
    threads: Threads = 2,
) -> None:
    """Count the true objects and cues that each way of discovery finds, and write the tables."""
    torch.set_num_threads(threads)
    discovery_tables.write(measure(Sizes(), work, torch.device(device)), document)


if __name__ == "__main__":
    app()
