"""`cuecheck masks`: what a class's logit rests on, picture by picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.connection import connect
from service.console import ExitCode, complain, out, table

SENT_TOGETHER = 8
"""Pictures in one request."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(masks)


def masks(
    context: typer.Context,
    pictures: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Picture files.")],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the overlays.")] = Path("overlays"),
    bank: Annotated[str | None, typer.Option(help="Feature bank; the service's default if left out.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Class name, index, `predicted` or `top3`; repeatable.")
    ] = None,
) -> None:
    """Save an overlay of the core and spurious masks of each picture as PNG, and print its features.

    A picture that cannot be used is reported, the others are done; the exit code is then 1.
    """
    from service.overlays import overlay, upright

    failed = 0
    folder.mkdir(parents=True, exist_ok=True)
    fields: dict[str, str | list[str]] = {"classes": classes or ["predicted"], "maps": "masks", "size": "original"}
    if bank is not None:
        fields["bank"] = bank
    with connect(context) as client:
        for start in range(0, len(pictures), SENT_TOGETHER):
            files = pictures[start : start + SENT_TOGETHER]
            contents = [file.read_bytes() for file in files]
            answer = client.masks([(file.name, data) for file, data in zip(files, contents, strict=True)], fields)
            for file, data, found in zip(files, contents, answer.pictures, strict=True):
                if found.problem is not None:
                    failed += 1
                    complain(f"{file}: {found.problem.detail}", found.problem.field, found.problem.remedy)
                    continue
                for asked in found.classes or []:
                    target = folder / f"{file.stem}-{asked.name.replace('/', '_')}.png"
                    overlay(upright(data), asked).save(target)
                    out.print(
                        f"[bold]{file}[/]  {asked.name} {asked.probability:.1%}  "
                        f"core {asked.contributions.core:+.2f}  spurious {asked.contributions.spurious:+.2f}  "
                        f"unlabelled {asked.contributions.unlabelled:+.2f}  ->  {target}"
                    )
                    rows = table("feature", "label", "kind", "activation", "contribution", "in range")
                    for feature in asked.features:
                        rows.add_row(
                            str(feature.feature),
                            feature.label,
                            feature.kind.replace("_", " "),
                            f"{feature.activation:.3f}",
                            f"{feature.contribution:+.3f}",
                            "yes" if feature.valid else "no",
                        )
                    out.print(rows)
    if failed:
        raise typer.Exit(ExitCode.FAILED)
