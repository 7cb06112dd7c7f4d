"""`cuecheck annotate`: let people label a draft, and publish what they say as a feature bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from service.commands import votes
from service.commands.connection import connect
from service.commands.waiting import await_end
from service.console import lines, out, table

if TYPE_CHECKING:
    from service.annotating import AnnotationAnswer

app = typer.Typer(help="Annotations: people label a draft, and a bank is published.", no_args_is_help=True)
app.add_typer(votes.app, name="votes")

Id = Annotated[str, typer.Argument(help="Id of the annotation, 12 hexadecimal digits.")]


@app.command()
def start(
    context: typer.Context,
    draft: Annotated[str, typer.Argument(help="Id of the discovery whose draft is labelled.")],
    title: Annotated[str | None, typer.Option(help="What to call it; after the encoder if left out.")] = None,
    answers: Annotated[int, typer.Option(min=1, help="People asked about each panel.")] = 5,
    threshold: Annotated[
        int, typer.Option(min=1, help="Of so many answers, those against the main object that make it spurious.")
    ] = 3,
    classes: Annotated[list[str] | None, typer.Option("--class", "-c", help="Only this class; repeatable.")] = None,
) -> None:
    """Start an annotation; its id is printed on standard output."""
    from service.annotating import AnnotationRequest
    from service.commands.subjects import asked

    with connect(context) as client:
        request = asked(
            AnnotationRequest,
            {
                "draft": draft,
                "title": title,
                "answers_per_panel": answers,
                "threshold": threshold,
                "classes": classes or None,
            },
        )
        out.print(client.annotations.start(request).id)


@app.command("from-bank")
def from_bank(
    context: typer.Context,
    bank: Annotated[str, typer.Argument(help="NAME (its latest version), NAME@VERSION or digest of the bank.")],
    draft: Annotated[
        str | None, typer.Option(help="Discovery that has its panels; the one its card names if left out.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Zip, tar or id of a data set: draw the panels anew from its pictures first.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="What to call it; as the bank if left out.")] = None,
    answers: Annotated[int | None, typer.Option(min=1, help="People asked about each panel; as for the bank.")] = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="Answers against the main object that make it spurious; as for the bank.")
    ] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", "-c", help="Only this class; repeatable.")] = None,
) -> None:
    """Draft a published bank again: its answers are kept, and publishing makes its next version.

    `annotate more` asks again about panels that are split, or about those that are named.
    """
    from jobs.discovery_request import DiscoveryRequest
    from service.annotating import AnnotationRequest
    from service.commands.subjects import asked, dataset_id

    with connect(context) as client:
        found = client.bank(bank)
        if dataset is not None:
            fields = {
                "dataset": dataset_id(client, dataset),
                "encoder": f"bank:{found.digest}",
                "grouping": found.grouping,
                "classes": classes or None,
                "again": True,
            }
            job = client.submit_discovery(asked(DiscoveryRequest, fields))
            await_end(client, job)
            draft = job.id
        request = asked(
            AnnotationRequest,
            {
                "bank": found.digest,
                "draft": draft,
                "title": title,
                "answers_per_panel": answers,
                "threshold": threshold,
                "classes": classes or None,
            },
        )
        out.print(client.annotations.start(request).id)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all annotations, the newest first."""
    rows = table("id", "title", "state", "stage", "panels", "complete", "answers", "people", "bank")
    with connect(context) as client:
        for one in client.annotations.list():
            bank = f"{one.published.name}@{one.published.version}" if one.published else ""
            figures = (one.panels, one.complete, one.answers, one.annotators)
            rows.add_row(one.id, Text(one.title), one.state, one.stage, *map(str, figures), bank)
    out.print(rows)


@app.command()
def invite(
    context: typer.Context,
    annotation: Id,
    annotators: Annotated[list[str], typer.Argument(help="Names of those to invite.")],
    hours: Annotated[float, typer.Option(help="For which their links work.")] = 168,
) -> None:
    """Invite people: a link for each is printed, once, and is not kept."""
    with connect(context) as client:
        for annotator in annotators:
            made = client.annotations.invite(annotation, annotator, hours)
            out.print(Text(f"{client.url}{made.href}  {annotator}"), soft_wrap=True)


@app.command()
def revoke(
    context: typer.Context, annotation: Id, invitation: Annotated[str, typer.Argument(help="Id of the invitation.")]
) -> None:
    """Make a link worthless; what was answered by it stays."""
    with connect(context) as client:
        client.annotations.revoke(annotation, invitation)
    out.print(f"revoked {invitation}")


@app.command()
def status(context: typer.Context, annotation: Id) -> None:
    """Show how far an annotation is, and its invitations."""
    with connect(context) as client:
        found = client.annotations.get(annotation)
        invitations = list(client.annotations.invitations(annotation))
    _show(found)
    rows = table("invitation", "annotator", "answers", "expires", "revoked")
    for one in invitations:
        revoked = f"{one.revoked:%Y-%m-%d %H:%M}" if one.revoked else ""
        rows.add_row(one.id, Text(one.annotator), str(one.answers), f"{one.expires:%Y-%m-%d %H:%M}", revoked)
    out.print(rows)


@app.command()
def results(
    context: typer.Context,
    annotation: Id,
    threshold: Annotated[int | None, typer.Option(min=1, help="Look at another one; nothing is changed.")] = None,
) -> None:
    """Show labels, agreement, split panels and how each annotator answers."""
    with connect(context) as client:
        found = client.annotations.results(annotation, threshold)
    second = found.validated
    lines(
        f"Under threshold {found.threshold}",
        [
            ("core", found.core),
            ("spurious", found.spurious),
            *((f"  {kind.replace('_', ' ')}", found.kinds[kind]) for kind in found.kinds if kind != "main_object"),
            ("lacking", f"{found.lacking:,} answers on {found.open:,} panels" if found.open else None),
            ("kappa", found.kappa),
            ("core or not", found.kappa_binary),
            ("split", f"{len(found.split)}: {' '.join(found.split)}" if found.split else 0),
            ("would change", f"{len(found.changes)}: {' '.join(found.changes)}" if found.changes else None),
            (
                "validated",
                second and f"{second.validated} of {second.judged} rows judged [{second.low:.0%}, {second.high:.0%}]",
            ),
        ],
    )
    rows = table("annotator", "answers", "agrees with the others", "seconds per panel")
    for one in found.annotators:
        agreement = "" if one.agreement is None else f"{one.agreement:.0%} of {one.compared}"
        seconds = "" if one.median_seconds is None else f"{one.median_seconds:.1f}"
        rows.add_row(Text(one.annotator), str(one.answers), agreement, seconds)
    out.print(rows)


@app.command()
def more(
    context: typer.Context,
    annotation: Id,
    panels: Annotated[list[str] | None, typer.Argument(help="Ids of panels; all split ones if left out.")] = None,
    answers: Annotated[int, typer.Option(min=1, help="Wanted beyond those wanted now.")] = 2,
) -> None:
    """Ask for more answers on some panels, or on all that are split."""
    with connect(context) as client:
        chosen = panels or client.annotations.results(annotation).split
        if chosen:
            client.annotations.more(annotation, chosen, answers)
    out.print(f"{answers} more answers wanted on {len(chosen)} panels")


@app.command()
def close(
    context: typer.Context,
    annotation: Id,
    reopen: Annotated[bool, typer.Option("--reopen", help="Open it again instead.")] = False,
    threshold: Annotated[int | None, typer.Option(min=1, help="Choose another threshold at that.")] = None,
) -> None:
    """Take no more answers; what was answered stays."""
    from service.annotating import AnnotationChange

    change = AnnotationChange(state="open" if reopen else "closed", threshold=threshold)
    with connect(context) as client:
        _show(client.annotations.change(annotation, change))


@app.command()
def validate(
    context: typer.Context,
    annotation: Id,
    annotators: Annotated[
        int | None, typer.Option(min=1, help="People asked about each row; as in the first round if left out.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until its pictures are drawn.")] = True,
) -> None:
    """Open the second round: do a class's top pictures show what was labelled? The same links ask that now."""
    with connect(context) as client:
        found = client.annotations.open_validation(annotation, annotators)
        if wait and found.validation_job is not None:
            await_end(client, client.job(found.validation_job))
    _show(found)


@app.command()
def publish(
    context: typer.Context,
    annotation: Id,
    name: Annotated[str, typer.Option("--name", "-n", help="Of the bank: small letters, digits, - and _.")],
    title: Annotated[str, typer.Option(help="What the bank is.")],
    licence: Annotated[str, typer.Option(help="What others may do with it.")],
    labeller: Annotated[str | None, typer.Option(help="Who gave the labels; counted if left out.")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, help="In place of the annotation's own.")] = None,
    notes: Annotated[str | None, typer.Option(help="What users of the bank should know, for its card.")] = None,
) -> None:
    """Publish a feature bank of the labels. The annotation takes no answers any more."""
    from jobs.annotation_publication import PublishRequest
    from service.commands.subjects import asked

    fields = {
        "name": name,
        "title": title,
        "licence": licence,
        "labeller": labeller,
        "threshold": threshold,
        "notes": notes,
    }
    with connect(context) as client:
        bank = client.annotations.publish(annotation, asked(PublishRequest, fields))
    lines(
        f"bank {bank.name}, version {bank.version}",
        [("digest", bank.digest), ("rows", f"{bank.features}: {bank.core} core, {bank.spurious} spurious")],
    )


def _show(found: AnnotationAnswer) -> None:
    lines(
        found.title,
        [
            ("id", found.id),
            ("state", f"{found.state}, round of {found.stage}"),
            ("draft", found.draft),
            ("rule", f"{found.threshold} of {found.answers_per_panel} answers make a feature spurious"),
            ("panels", f"{found.panels:,}, of which {found.complete:,} complete"),
            ("answers", f"{found.answers:,} of {found.annotators} people"),
            ("bank", f"{found.published.name}@{found.published.version}" if found.published else None),
        ],
    )
