"""`cuecheck classifier`: the classifiers that are audited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from jobs.errors import in_words
from service.commands.connection import connect
from service.console import byte_progress, err, lines, out, table

if TYPE_CHECKING:
    from jobs.classifiers import ClassifierRecord
    from models.classifiers.spec import ClassifierSpec
    from service.client import Client

app = typer.Typer(help="Classifiers: upload, list, show, delete.", no_args_is_help=True)
Identifier = Annotated[str, typer.Argument(help="Id of the classifier, 64 hexadecimal digits.")]


def read_spec(file: Path) -> ClassifierSpec:
    """The specification in a JSON file; a faulty one is wrong usage, said with the field at fault."""
    from models.classifiers.spec import ClassifierSpec

    try:
        return ClassifierSpec.model_validate_json(file.read_bytes())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {in_words(e['msg'])}" for e in error.errors())
        raise typer.BadParameter(f"{file}: {faults}") from error
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


def send_classifier(client: Client, file: Path, spec: ClassifierSpec) -> ClassifierRecord:
    """Upload a classifier, with a progress bar; the service tries it out before it answers."""
    with byte_progress() as progress, progress.open(file, "rb", description=f"sending {file.name}") as stream:
        return client.upload_classifier(stream, spec)


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="ONNX or safetensors file.")],
    spec: Annotated[
        Path | None,
        typer.Option(help="JSON file saying format, classes and preprocessing; FILE.spec.json if left out."),
    ] = None,
) -> None:
    """Upload a classifier; the service tries it out. Its id is printed on standard output."""
    declared = read_spec(spec or file.with_suffix(".spec.json"))
    with connect(context) as client:
        record = send_classifier(client, file, declared)
    err.print(f"runs on {record.trial.provider}")
    for warning in record.trial.warnings:
        err.print(f"[yellow]warning:[/] {warning}")
    out.print(record.id)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all classifiers."""
    rows = table("id", "name", "version", "format", "classes", "uploaded")
    with connect(context) as client:
        for record in client.classifiers():
            rows.add_row(
                record.id,
                record.spec.name,
                record.spec.version,
                record.spec.format,
                f"{len(record.spec.classes):,}",
                f"{record.created:%Y-%m-%d %H:%M}",
            )
    out.print(rows)


@app.command()
def show(context: typer.Context, classifier: Identifier) -> None:
    """Show one classifier."""
    with connect(context) as client:
        record = client.classifier(classifier)
    spec = record.spec
    lines(
        f"{spec.name or 'classifier'} {spec.version}".strip(),
        [
            ("id", record.id),
            ("format", spec.format),
            ("architecture", spec.architecture),
            ("classes", ", ".join(spec.classes)),
            ("input", f"{spec.preprocessing.size} px"),
            ("tried on", record.trial.provider),
            ("uploaded", f"{record.created:%Y-%m-%d %H:%M} UTC"),
        ],
    )


@app.command()
def delete(context: typer.Context, classifier: Identifier) -> None:
    """Delete a classifier; refused while an audit uses it."""
    with connect(context) as client:
        client.delete_classifier(classifier)
    out.print(f"deleted {classifier}")
