"""`cuecheck encoder`: networks whose features can be looked at, brought from their publishers or from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from jobs.errors import in_words
from jobs.settings import Settings
from jobs.store import Store
from service.commands import training
from service.commands.connection import connect
from service.console import byte_progress, err, lines, out, table

if TYPE_CHECKING:
    from jobs.catalogue import CatalogueEntry
    from jobs.encoder_declaration import EncoderDeclaration
    from jobs.encoder_record import EncoderRecord

app = typer.Typer(
    help="Encoders: pull published ones into the store itself; import, list, show and delete them by the service.",
    no_args_is_help=True,
)
training.register(app)
Identifier = Annotated[str, typer.Argument(help="Id of the encoder, 64 hexadecimal digits.")]


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name in the catalogue; `cuecheck encoder catalogue` lists them.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept its terms without being asked, for scripts.")
    ] = False,
) -> None:
    """Bring a published encoder into the store that the settings name; the service need not run.

    A download that broke off goes on where it was. The id is printed on standard output.
    """
    from jobs.catalogue import find_entry
    from jobs.downloads import download
    from jobs.encoders import import_encoder
    from models.errors import ModelsError

    settings = Settings()
    store = Store.from_settings(settings)
    entry = find_entry(settings, name)
    if (known := _pulled(store, entry)) is not None:
        err.print(f"{name} is here already, since {known.created:%Y-%m-%d %H:%M} UTC")
        out.print(known.id)
        return
    _accept(entry, accept_licence)
    target = settings.data_dir / "downloads" / name
    with byte_progress() as progress:
        task = progress.add_task(f"downloading {name}", total=None)
        found = download(
            entry.urls,
            target,
            most_bytes=settings.max_upload_bytes,
            sha256=entry.sha256,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    verified = "as its host states" if entry.sha256 else "which nobody states beforehand: compare it where you can"
    err.print(f"sha256 {found.sha256}, {verified}", soft_wrap=True)
    try:
        with err.status("reading it, as data, and trying it out"):
            record = import_encoder(store, found.path, entry.declaration(), settings, url=found.url, catalogue=name)
    except ModelsError:
        if entry.sha256 is None:  # it may be another file than was published: the next pull fetches it anew
            found.path.unlink()
        raise
    found.path.unlink()
    out.print(record.id)


@app.command()
def catalogue() -> None:
    """List the published encoders that `pull` brings."""
    from jobs.catalogue import read_catalogue

    rows = table("name", "what it is", "licence", "verified")
    for name, entry in sorted(read_catalogue(Settings()).items()):
        rows.add_row(name, entry.title, entry.licence, "sha256" if entry.sha256 else "no digest published")
    out.print(rows)


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="safetensors, or a file of torch.save.")],
    spec: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSON file with all that is declared of it.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File with a class name per line; ImageNet-1k if left out."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="Name of the network; told by the weights if left out.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of its square input, pixels.")] = 224,
    resize: Annotated[int | None, typer.Option(help="Side resized to before the crop; the size if left out.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Of the normaliser; the file's own if left out.")
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Of the normaliser; the file's own if left out.")
    ] = None,
    name: Annotated[str, typer.Option(help="Short name of it.")] = "encoder",
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "unknown",
) -> None:
    """Upload an encoder from a file; the service reads it as data and tries it out. Its id is printed.

    Either --spec says everything, or the other options do.
    """
    if spec is None:
        preprocessing: dict[str, Any] = {"size": size, "resize": resize}
        preprocessing |= {key: value for key, value in {"mean": mean, "std": std}.items() if value is not None}
        declared = _declared(
            {
                "name": name,
                "licence": licence,
                "classes": _class_names(classes),
                "backbone": {"architecture": architecture, "preprocessing": preprocessing},
            }
        )
    elif classes or architecture:
        raise typer.BadParameter("--spec says it all; leave --classes and --architecture out", param_hint="--spec")
    else:
        declared = _declared(spec.read_bytes())
    with (
        connect(context) as client,
        byte_progress() as progress,
        progress.open(file, "rb", description=f"sending {file.name}") as stream,
    ):
        record = client.upload_encoder(stream, declared)
    err.print(_summary(record))
    out.print(record.id)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all encoders of the store; the backbone of a bank is `bank:NAME` wherever an encoder is asked for."""
    rows = table("id", "name", "network", "maps", "classes", "brought in")
    with connect(context) as client:
        for record in client.encoders():
            backbone = record.spec.backbone
            rows.add_row(
                record.id,
                record.spec.name,
                backbone.architecture,
                " x ".join(map(str, backbone.maps)),
                f"{len(record.spec.classes):,}",
                f"{record.created:%Y-%m-%d %H:%M}",
            )
    out.print(rows)


@app.command()
def show(context: typer.Context, encoder: Identifier) -> None:
    """Show one encoder."""
    with connect(context) as client:
        record = client.encoder(encoder)
    spec, origin = record.spec, record.origin
    preprocessing = spec.backbone.preprocessing
    classes = ", ".join(spec.classes[:20]) + (f", ... ({len(spec.classes):,})" if len(spec.classes) > 20 else "")
    lines(
        spec.title or spec.name,
        [
            ("id", record.id),
            ("name", spec.name),
            ("licence", spec.licence),
            ("network", f"{spec.backbone.architecture} {spec.backbone.arguments or ''}".rstrip()),
            ("maps", " x ".join(map(str, spec.backbone.maps))),
            ("input", f"{preprocessing.size} px, mean {preprocessing.mean}, std {preprocessing.std}"),
            ("classes", classes),
            ("weights", f"sha256 {record.weights_digest}"),
            ("read from", origin and (origin.url or f"a file, {origin.layout} {origin.format}")),
            ("its sha256", origin and origin.sha256),
            ("brought in", f"{record.created:%Y-%m-%d %H:%M} UTC"),
        ],
    )


@app.command()
def delete(context: typer.Context, encoder: Identifier) -> None:
    """Delete an encoder; refused while a job uses it."""
    with connect(context) as client:
        client.delete_encoder(encoder)
    out.print(f"deleted {encoder}")


def _pulled(store: Store, entry: CatalogueEntry) -> EncoderRecord | None:
    """The encoder of this entry in the store, unless the entry has another file by now."""
    from jobs.encoders import list_encoders

    for record in list_encoders(store, limit=sys.maxsize):
        origin = record.origin
        if origin and origin.catalogue == entry.name and entry.sha256 in (None, origin.sha256):
            return record
    return None


def _accept(entry: CatalogueEntry, accepted: bool) -> None:
    """Show the terms and have them accepted; refused where nobody can be asked."""
    err.print(f"[bold]{entry.title}[/]")
    for what, text in (("notes", entry.notes), ("from", entry.urls[0]), ("see", entry.about)):
        if text:
            err.print(f"  {what:<8} {text}", markup=False)
    err.print(f"  {'licence':<8} {entry.licence}", markup=False)
    if accepted:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("its licence has to be accepted", param_hint="--accept-licence")
    typer.confirm("Do you accept these terms?", abort=True, err=True)


def _class_names(file: Path | None) -> tuple[str, ...]:
    if file is None:
        from jobs.catalogue import imagenet_classes

        return imagenet_classes()
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())


def _declared(given: bytes | dict[str, Any]) -> EncoderDeclaration:
    """A declaration; a faulty one is wrong usage, said with the field at fault."""
    from jobs.encoder_declaration import EncoderDeclaration

    try:
        if isinstance(given, bytes):
            return EncoderDeclaration.model_validate_json(given)
        return EncoderDeclaration.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {in_words(e['msg'])}" for e in error.errors())
        raise typer.BadParameter(faults) from error


def _summary(record: EncoderRecord) -> str:
    backbone = record.spec.backbone
    return f"{backbone.architecture}, maps of {' x '.join(map(str, backbone.maps))}"
