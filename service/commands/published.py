"""`cuecheck bank import-salient` and `import-components`: banks from labels that others released.

Both work on the store and the banks folder of the settings directly, in this process, as the files never leave the
user's machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from service.commands.subjects import pairs
from service.console import counted_progress, err, lines, out, table

Name = Annotated[str, typer.Option("--name", "-n", help="What to call the bank.")]
Encoder = Annotated[str, typer.Option("--encoder", "-e", help="Id of the labelled encoder, or bank:NAME.")]
Dataset = Annotated[
    str, typer.Option("--dataset", "-d", help="Id of the data set whose pictures give the statistics of each row.")
]
ClassMap = Annotated[
    list[str] | None, typer.Option("--map", help="THEIRS=ENCODERS, where a class has another name; repeatable.")
]
PerClass = Annotated[int | None, typer.Option(min=2, help="Pictures of each class, evenly spread; all if left out.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of `cuecheck bank`."""
    app.command("import-salient")(import_salient_labels)
    app.command("import-components")(import_spurious_components)


def import_salient_labels(
    csv: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="discover_spurious_features.csv, yours.")],
    encoder: Encoder,
    dataset: Dataset,
    name: Name,
    threshold: Annotated[int, typer.Option(min=1, max=5, help="Votes of five that make a feature spurious.")] = 3,
    grouping: Annotated[
        Literal["predicted", "label", "both"], typer.Option(help="Which pictures form a class's group.")
    ] = "predicted",
    class_map: ClassMap = None,
    per_class: PerClass = None,
) -> None:
    """Make a bank of Salient ImageNet's labels; refused where they were given for another checkpoint."""
    # Imported here: torch comes with it, and `cuecheck --help` need not wait for that.
    from jobs.label_import import Wanted
    from jobs.salient_import import import_salient
    from jobs.settings import Settings
    from jobs.store import Store

    settings = Settings()
    wanted = Wanted(name, encoder, dataset, pairs(class_map, "--map") or {}, per_class)
    with counted_progress("looking at pictures") as progress:
        found = import_salient(
            Store.from_settings(settings), settings, csv, wanted, progress, threshold=threshold, grouping=grouping
        )
    counts = found.counts
    rows = table("in the file", "")
    for what, number in (
        ("answers", counts.rows),
        ("pairs of class and feature", counts.pairs),
        ("classes", counts.classes),
        ("distinct features", counts.features),
        ("core pairs", counts.core),
        ("spurious pairs", counts.spurious),
        ("  background", counts.kinds["background"]),
        ("  separate object", counts.kinds["separate_object"]),
        ("  ambiguous", counts.kinds["ambiguous"]),
        ("classes with a spurious feature", counts.classes - counts.classes_by_spurious[0]),
        ("decided by one vote", counts.split),
    ):
        rows.add_row(what, f"{number:,}")
    out.print(rows)
    lines(
        "\nlabels and weights",
        [("fit", found.fit), ("agreement", f"Fleiss' kappa {counts.kappa:.4f}, core or not {counts.kappa_binary:.4f}")],
    )
    _report(found.bank.name, len(found.bank.manifest.features), found.warnings)


def import_spurious_components(
    npy: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="spurious_components.npy, yours.")],
    encoder: Encoder,
    dataset: Dataset,
    name: Name,
    class_map: ClassMap = None,
    per_class: PerClass = None,
) -> None:
    """Make a bank of Spurious ImageNet's components; the file is read as data, nothing in it is run."""
    from jobs.component_import import import_components
    from jobs.label_import import Wanted
    from jobs.settings import Settings
    from jobs.store import Store

    settings = Settings()
    wanted = Wanted(name, encoder, dataset, pairs(class_map, "--map") or {}, per_class)
    with counted_progress("looking at pictures") as progress:
        found = import_components(Store.from_settings(settings), settings, npy, wanted, progress)
    _report(found.bank.name, len(found.bank.manifest.features), found.warnings)


def _report(name: str, rows: int, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    out.print(f"\nbank {name}: {rows:,} rows")
