"""`cuecheck up`, `serve` and `worker`: what runs the service."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.settings import Settings
from service.console import err, out


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    for command in (up, serve, worker):
        app.command(rich_help_panel="Run the service")(command)


def up(
    workers: Annotated[int, typer.Option(min=1, help="Processes that run audits.")] = 1,
) -> None:
    """Run everything on this machine: Redis (unless CUECHECK_REDIS_URL is set), the service and workers.

    Ctrl-C or SIGTERM ends it: what was begun is finished first. A second Ctrl-C ends it at once.
    """
    from service.stack import Stack, terminated_as_interrupted

    settings = Settings()
    own_redis = "redis_url" not in settings.model_fields_set
    stack = Stack(settings, own_redis=own_redis, workers=workers, say=lambda line: err.print(f"[dim]{line}[/]"))
    with terminated_as_interrupted():
        try:
            with err.status("starting Redis, the service and the workers"):
                stack.start()
            out.print(f"[bold green]ready[/] at {stack.url}")
            out.print(f"  pages      {stack.url}/  and  {stack.url}/jobs")
            out.print(f"  reference  {stack.url}/docs")
            out.print(f"  models     run on {stack.runs_on()}")
            out.print(f"  data       {stack.settings.data_dir}")
            out.print(f"  logs       {stack.logs}")
            out.print("Ctrl-C ends it.")
            stack.watch()
        except KeyboardInterrupt:
            err.print("ending: what was begun is finished first")
        finally:
            stack.stop()
    out.print("ended, nothing is left running")


def serve() -> None:
    """Run the service alone, as the settings say; SIGTERM drains it."""
    from service.lifecycle import serve as run

    run(Settings())


def worker(
    burst: Annotated[bool, typer.Option(help="End when the queue is empty.")] = False,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="End after that many jobs.")] = None,
) -> None:
    """Run one worker for audits; SIGTERM lets it finish the shard it has begun."""
    from jobs.worker import run_worker

    run_worker(Settings(), burst=burst, max_jobs=max_jobs)
