"""`cuecheck bank export-masks`: a data set's masks as files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from service.commands.connection import connect
from service.commands.subjects import ClassMap, Dataset, asked, dataset_id, pairs
from service.commands.waiting import Wait, await_end
from service.console import counted_progress, lines, out, table

if TYPE_CHECKING:
    from jobs.export_manifest import ExportedShard, ExportManifest
    from service.client import Client


def export_masks(
    context: typer.Context,
    dataset: Dataset,
    bank: Annotated[str | None, typer.Option("--bank", "-b", help="Feature bank, by name or digest.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Folder to fetch it into; PNGs are unpacked."),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Only this class of the bank; repeatable.")
    ] = None,
    class_map: ClassMap = None,
    features: Annotated[
        str | None, typer.Option("--features", "-f", help="all, core, spurious, or indices with commas.")
    ] = None,
    class_of: Annotated[str | None, typer.Option(help="Whose features a picture gets: label or predicted.")] = None,
    validity: Annotated[str | None, typer.Option(help="Which masks: valid, all, or top:SHARE, as top:0.05.")] = None,
    unions: Annotated[
        list[str] | None, typer.Option("--union", help="Also the union of core or spurious masks; repeatable.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Pixels of the masks: of the network's input, or original.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="png, webdataset or rle.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Where masks are cut for rle.")] = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="Put the pictures beside them: webdataset.")] = False,
    ranked: Annotated[int | None, typer.Option(help="Pictures in each list of the rankings.")] = None,
    max_pictures: Annotated[int | None, typer.Option(help="At most this many, spread over the data set.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the choice of pictures.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per forward.")] = None,
    wait: Wait = True,
) -> None:
    """Write the masks of a whole data set, rank its pictures by spuriosity, and fetch it all.

    What was fetched before is not fetched again. Interrupting ends the waiting, not the export; the same command takes
    it up. Exit code 0 says that it was done, 1 that it failed or was cancelled.
    """
    from jobs.export_request import ExportRequest

    with connect(context) as client:
        fields: dict[str, Any] = {
            "dataset": dataset_id(client, dataset),
            "bank": bank,
            "classes": classes or None,
            "class_map": pairs(class_map, "--map"),
            "features": features and _features(features),
            "class_of": class_of,
            "validity": validity,
            "unions": unions or None,
            "size": size,
            "format": form,
            "threshold": threshold,
            "pictures": pictures or None,
            "ranked": ranked,
            "max_pictures": max_pictures,
            "seed": seed,
            "batch_size": batch_size,
        }
        job = client.submit_export(asked(ExportRequest, fields))
        await_end(client, job, wait)
        manifest = client.export_manifest(job.id)
        if folder is not None:
            fetch(client, manifest, folder)
    _print(manifest, folder)


def fetch(client: Client, manifest: ExportManifest, folder: Path) -> None:
    """Bring the files of an export into a folder, PNGs as a tree; the manifest comes last.

    The table of a shard's masks is written after them, so that a shard which has it is whole and is left alone.
    """
    from jobs.export_manifest import MANIFEST, RANKINGS, SPURIOSITY

    expected = {Path(shard.rows).name for shard in manifest.shards}
    if any(found.name not in expected for found in (folder / "rows").glob("*.parquet")):
        raise typer.BadParameter(f"{folder} holds another export", param_hint="--out")
    for part in ("masks", "samples", "rows"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with counted_progress("fetching") as progress:
        for number, shard in enumerate(manifest.shards):
            progress(number, len(manifest.shards))
            if not (folder / shard.rows).exists():
                _fetch_shard(client, manifest, shard, folder)
        progress(len(manifest.shards), len(manifest.shards))
    for name in (RANKINGS, SPURIOSITY, MANIFEST):
        client.download_export(manifest.id, name, folder / name)


def _fetch_shard(client: Client, manifest: ExportManifest, shard: ExportedShard, folder: Path) -> None:
    if shard.masks is not None:
        packed = folder / shard.masks
        client.download_export(manifest.id, shard.masks, packed)
        if manifest.format == "png":
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(folder / "masks")
            packed.unlink()
    for name in (shard.samples, shard.rows):
        client.download_export(manifest.id, name, folder / name)


def _features(text: str) -> str | list[str]:
    """all, core and spurious as they are; anything else as a list, whose parts are checked with the request."""
    return text if text in ("all", "core", "spurious") else [part.strip() for part in text.split(",")]


def _print(manifest: ExportManifest, folder: Path | None) -> None:
    lines(
        "Export",
        [
            ("id", manifest.id),
            ("bank", f"{manifest.bank_name}, {manifest.bank}"),
            ("pictures", f"{manifest.pictures:,}, of which {manifest.masked:,} have masks"),
            ("masks", ", ".join(f"{count:,} {label}" for label, count in manifest.labels.items())),
            *(("left out", f"{count:,} {reason.replace('_', ' ')}") for reason, count in manifest.skipped.items()),
            ("folder", folder),
        ],
    )
    rows = table("class", "index", "pictures", "masks", "features")
    for one in manifest.classes:
        numbers = ", ".join(map(str, one.features))
        rows.add_row(Text(one.name), str(one.index), f"{one.pictures:,}", f"{one.masks:,}", numbers)
    out.print(rows)
