"""`cuecheck encoder train`: make an encoder of one's own pictures."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.records import JobRecord
from service.client_errors import Busy, Refused
from service.commands.connection import connect
from service.commands.subjects import Dataset, asked, dataset_id
from service.commands.waiting import Wait, await_end
from service.console import err, lines

if TYPE_CHECKING:
    from models.training.following import EpochRecord
    from service.client import Client

LOOK_SECONDS = 1.0
"""Between two looks whether a further epoch has ended."""


def register(app: typer.Typer) -> None:
    """Add the command of this file to `app`."""
    app.command()(train)


def train(
    context: typer.Context,
    dataset: Dataset,
    name: Annotated[str, typer.Option(help="Short name of the encoder to be made.")],
    held_out: Annotated[
        str | None, typer.Option(help="What accuracies are measured on: a file, an id, or a share such as 0.1.")
    ] = None,
    head_of: Annotated[
        str | None,
        typer.Option(help="Fit a linear head on this frozen encoder (id, or bank:NAME): minutes instead of hours."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin with the weights of this encoder, in place of random ones.")
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="Network.")] = None,
    arguments: Annotated[str | None, typer.Option(help="Its keyword arguments, as JSON.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network's input, pixels.")] = None,
    norm: Annotated[str | None, typer.Option(help="What the attack's ball is measured in: l2 or linf.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Radius of the ball, pictures in [0, 1].")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the attack.")] = None,
    step_size: Annotated[float | None, typer.Option(help="Of one step.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every picture is trained on.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step, all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of weights.")] = None,
    padding: Annotated[int | None, typer.Option(help="Shift pictures by up to this many pixels.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16 or fp32.")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes that share every batch: one for each GPU.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, attack and held-out share.")] = None,
    title: Annotated[str | None, typer.Option(help="What the encoder is, in a line.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of its weights.")] = None,
    wait: Wait = True,
) -> None:
    """Upload what is not uploaded yet, train adversarially or fit a head, and print the encoder's id.

    While it waits, the accuracies on held-out pictures are printed after every epoch. A training that is cancelled,
    or whose worker dies, goes on from its last epoch. Interrupting ends the waiting, not the training.
    """
    from jobs.training_request import TrainingRequest

    if head_of is not None and start is not None:
        raise typer.BadParameter("a head is fitted on a frozen encoder: give --head-of or --from, not both")
    with connect(context) as client:
        fields: dict[str, Any] = {
            "dataset": dataset_id(client, dataset),
            "held_out": None if held_out is None else _share(held_out) or dataset_id(client, held_out),
            "route": "linear_head" if head_of is not None else None,
            "encoder": head_of or start,
            "name": name,
            "title": title,
            "licence": licence,
            "architecture": architecture,
            "arguments": None if arguments is None else _json(arguments),
            "size": size,
            "norm": norm,
            "epsilon": epsilon,
            "steps": steps,
            "step_size": step_size,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "padding": padding,
            "precision": precision,
            "processes": processes,
            "seed": seed,
        }
        request = asked(TrainingRequest, fields)
        job = client.submit_training(request)
        await_end(client, job, wait, _Epochs(client, request.epochs).look)
        found = json.loads(client.training_file(job.id, "training.json"))
        accuracy = found["accuracy"]
        lines(
            "Encoder",
            [
                ("id", found["encoder"]),
                ("clean", f"{accuracy['clean']:.1%} of {accuracy['clean_pictures']:,} held-out pictures"),
                ("robust", f"{accuracy['robust']:.1%} of {accuracy['robust_pictures']:,}, {accuracy['robust_attack']}"),
                ("skipped", found["skipped"] or None),
            ],
        )


class _Epochs:
    """Prints each epoch once, above the progress bar."""

    def __init__(self, client: Client, of: int) -> None:
        self._client, self._of = client, of
        self._last = 0
        self._next_look = 0.0

    def look(self, job: JobRecord) -> None:
        """Print the epochs that have ended since; a linear head has none."""
        if job.request["route"] == "linear_head" or (time.monotonic() < self._next_look and not job.state.is_final):
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        with suppress(Refused, Busy):  # the first has not ended; or the service is away, and following waits for it
            for record in self._client.training_epochs(job.id).epochs:
                if record.epoch > self._last:
                    self._last = record.epoch
                    err.print(self._line(record))

    def _line(self, record: EpochRecord) -> str:
        accuracies = {"clean": record.clean, "robust": record.robust}
        shown = [f"{name} {value:6.1%}" for name, value in accuracies.items() if value is not None]
        return "  ".join([f"epoch {record.epoch:>{len(str(self._of))}}/{self._of}", *shown, f"loss {record.loss:.3f}"])


def _share(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--arguments") from error
