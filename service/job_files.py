"""The files that jobs of any kind leave, over HTTP: listed, one of them, and a report in the form that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request, Response

from jobs.errors import NotFound
from jobs.kinds import FOLDERS
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.downloads import kept, media_type_of, send
from service.job_submission import succeeded
from service.media import best_media_type
from service.problems import problem_responses
from service.schemas import Artefact

SENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    206: {"description": "The part that `Range` asks for.", "content": {"application/octet-stream": {}}},
    **problem_responses("unauthorised", "forbidden", "unavailable", "not-found", "range"),
}
"""The `responses=` of a route that sends one file, of whatever type."""


def shown(queue: JobQueue, record: JobRecord, names: Iterable[str]) -> list[Artefact]:
    """Files of a job with their sizes and where each is got: `/v1/<jobs of its kind>/<id>/artefacts/<name>`."""
    return [
        Artefact(
            name=name,
            bytes=queue.store.size(queue.file(record.id, name)),
            media_type=media_type_of(name),
            href=f"/v1/{FOLDERS[record.kind]}/{record.id}/artefacts/{name}",
        )
        for name in names
    ]


def file_of(queue: JobQueue, record: JobRecord, name: str, among: Iterable[str]) -> str:
    """A file of a job, as it is named in the store.

    Args:
        queue: which has the job.
        record: of the job.
        name: as it is asked for.
        among: the names that may be asked for.

    Raises:
        NotFound: it is none of them.
    """
    if name not in among:
        raise NotFound(f"{record.kind.capitalize()} {record.id} has no file {name[:100]!r}.", field="name")
    return queue.file(record.id, name)


def send_report(request: Request, job: str, kind: str, forms: Mapping[str, str]) -> Response:
    """The report of a job that has succeeded, in one of several forms; readable without Redis.

    Args:
        request: whose `Accept` chooses the form.
        job: its id.
        kind: what kind of job it has to be.
        forms: the media types there are, the usual one first, each with the name of its file.

    Raises:
        NotFound: there is no such job of this kind. Problem: `not-acceptable`, or `conflict` if it has not succeeded.
    """
    queue: JobQueue = request.app.state.queue
    media_type = best_media_type(request.headers.get("accept"), tuple(forms))
    record = succeeded(queue.get(job, kind), "report")
    return send(request, queue.store, kept(queue.file(record.id, forms[media_type]), Vary="Accept"))
