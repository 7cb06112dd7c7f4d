"""`cuecheck bank discover`: find the features of a data set's classes that a bank may be made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from service.commands.connection import connect
from service.commands.subjects import Dataset, Spec, asked, classifier_id, dataset_id, pairs
from service.commands.waiting import Wait, await_end
from service.console import lines, out, table

if TYPE_CHECKING:
    from models.draft import Draft


def discover(
    context: typer.Context,
    dataset: Dataset,
    encoder: Annotated[str, typer.Option("--encoder", "-e", help="Id of an encoder, or bank:NAME for a bank's own.")],
    channels: Annotated[int | None, typer.Option(help="Neural features per class, by importance.")] = None,
    components: Annotated[int | None, typer.Option(help="Neural principal components per class.")] = None,
    classifier: Annotated[
        str | None, typer.Option(help="ONNX or safetensors file, or an id: what tells its failures joins in.")
    ] = None,
    spec: Spec = None,
    failure_depth: Annotated[int | None, typer.Option(help="Depth of the tree that tells its failures.")] = None,
    grouping: Annotated[
        str | None, typer.Option(help="Which pictures form a class's group: predicted, label or both.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Look only at this class of the encoder; repeatable.")
    ] = None,
    class_map: Annotated[
        list[str] | None, typer.Option("--map", help="THEIRS=ENCODERS, where a class has another name; repeatable.")
    ] = None,
    descriptions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON file: class -> what it is, for those who label."),
    ] = None,
    exemplars: Annotated[int | None, typer.Option(help="Pictures per panel.")] = None,
    attack_steps: Annotated[int | None, typer.Option(help="Steps of the feature attack.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of prototypes and of the choice of pictures.")] = None,
    max_pictures: Annotated[int | None, typer.Option(help="At most this many, spread over the data set.")] = None,
    wait: Wait = True,
) -> None:
    """Upload what is not uploaded yet, look over the pictures, and leave a draft bank to be labelled.

    Exit code 0 says that the discovery was done, whatever it found; 1 that it failed or was cancelled. Interrupting
    ends the waiting, not the discovery.
    """
    from jobs.discovery_request import DiscoveryRequest

    with connect(context) as client:
        request = asked(
            DiscoveryRequest,
            {
                "dataset": dataset_id(client, dataset),
                "encoder": encoder,
                "channels": channels,
                "components": components,
                "classifier": classifier and classifier_id(client, classifier, spec),
                "failure_depth": failure_depth,
                "grouping": grouping,
                "classes": classes or None,
                "class_map": pairs(class_map, "--map"),
                "descriptions": descriptions and _read_descriptions(descriptions),
                "exemplars": exemplars,
                "attack_steps": attack_steps,
                "seed": seed,
                "max_pictures": max_pictures,
            },
        )
        job = client.submit_discovery(request)
        await_end(client, job, wait)
        _print(client.draft(job.id))
        out.print(f"\ndraft: {client.url}/drafts/{job.id}", soft_wrap=True)


def _read_descriptions(file: Path) -> object:
    """What a JSON file holds, to be checked with the rest of the request; what is no JSON is wrong usage."""
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--descriptions") from error


def _print(draft: Draft) -> None:
    lines(
        "Draft bank",
        [
            ("id", draft.id),
            ("encoder", draft.encoder.title or draft.encoder.name),
            ("pictures", f"{draft.pictures:,}"),
            ("accuracy", None if draft.accuracy is None else f"{draft.accuracy:.1%}, of the encoder on these labels"),
            ("grouping", draft.grouping),
            *(("left out", f"{count:,} {reason.replace('_', ' ')}") for reason, count in draft.skipped.items()),
        ],
    )
    rows = table("class", "index", "pictures in group", "candidates", "note")
    for found in draft.classes:
        rows.add_row(Text(found.name), str(found.index), f"{found.group:,}", str(found.candidates), found.note)
    out.print(rows)
