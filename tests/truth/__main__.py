"""What the product says, against what is truly there: `python -m tests.truth annotation --work FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from tests.truth import audit_tables, document
from tests.truth.annotation import measure
from tests.truth.artefacts import measure_artefacts
from tests.truth.audits import measure_panel

AUDIT_TRUTH = Path("docs/audit-truth.md")
ANNOTATION_TRUTH = Path("docs/annotation-truth.md")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback(help=__doc__)
def main() -> None:
    """What is measured are the commands."""


@app.command()
def annotation(
    work: Annotated[Path, typer.Option(help="Folder for drawn pictures and the service's data and logs.")],
    to: Annotated[Path, typer.Option("--document", help="Markdown file whose tables are written.")] = ANNOTATION_TRUTH,
    threads: Annotated[int, typer.Option(help="CPU threads for torch.", min=1)] = 2,
) -> None:
    """Let the script label planted pictures over HTTP, and score its labels by the exact masks."""
    torch.set_num_threads(threads)
    document.write(measure(work), to)


@app.command()
def audits(
    work: Annotated[Path, typer.Option(help="Folder for classifiers and outcomes; what is in it is not made again.")],
    to: Annotated[Path, typer.Option("--document", help="Markdown file whose tables are written.")] = AUDIT_TRUTH,
    cifar10: Annotated[Path | None, typer.Option(help="Zip of CIFAR-10's test pictures, one folder per class.")] = None,
    per_class: Annotated[int, typer.Option(help="Pictures of each class.", min=20)] = 100,
    threads: Annotated[int, typer.Option(help="CPU threads for torch.", min=1)] = 2,
) -> None:
    """Audit classifiers of known reliance, and score every measure by it."""
    torch.set_num_threads(threads)
    audit_tables.write(measure_panel(work, per_class), measure_artefacts(work / "reliant", cifar10), to, per_class)


if __name__ == "__main__":
    app()
