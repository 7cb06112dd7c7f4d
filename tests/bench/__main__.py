"""`make bench`: every ratio, as a table and in `bench.json`."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import harness
from tests.bench.harness import Ratio, machine

PARTS = (
    "in_process",
    "over_http",
    "audits",
    "measurements",
    "adding",
    "reduction",
    "released",
    "memory",
    "workers",
    "discovery",
    "discovery_maths",
    "training",
    "export",
    "annotation_page",
    "annotation",
    "report",
)


def main() -> None:
    """Run the parts named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--long", action="store_true", help="five minutes of labelling instead of half a minute")
    arguments = parser.parse_args()
    harness.long_runs = arguments.long
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    ratios: list[Ratio] = []
    console = Console()
    with tempfile.TemporaryDirectory(prefix="cuecheck-bench-") as folder:
        for part in arguments.parts or PARTS:
            console.print(f"[bold]{part}[/bold]")
            for ratio in importlib.import_module(f"tests.bench.{part}").measure(Path(folder)):
                console.print(f"  {ratio.name}: {ratio.value:.3f} (aim {ratio.aim})", ratio.detail)
                ratios.append(ratio)
    table = Table("ratio", "value", "aim", "met")
    for ratio in ratios:
        table.add_row(ratio.name, f"{ratio.value:.3f}", ratio.aim, "yes" if ratio.met else "no")
    console.print(table)
    arguments.output.write_text(
        json.dumps({"machine": machine(), "ratios": [ratio.record() for ratio in ratios]}, indent=1) + "\n"
    )
    console.print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
