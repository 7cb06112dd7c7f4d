"""What is labelled, against what is truly there: `python -m tests.truth annotation --work FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from tests.truth import document
from tests.truth.annotation import measure

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


if __name__ == "__main__":
    app()
