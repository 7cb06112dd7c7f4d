"""A discovery's draft as it is served: read from the store, with the addresses of its pictures."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from jobs.errors import NotFound
from jobs.queue import JobQueue
from jobs.records import JobRecord
from models.draft import Candidate, Draft, DraftClass
from service.job_submission import succeeded

PictureKind = Literal["panels", "strips"]
SPRITES: dict[PictureKind, re.Pattern[str]] = {
    "panels": re.compile(r"[0-9]{1,9}-[0-9]{1,9}\.jpg"),
    "strips": re.compile(r"[0-9]{1,9}\.jpg"),
}
"""What the files of each kind are called, below the folder of that name."""

SOURCES = {
    "importance": "channels that add most to the class's score, averaged over its group",
    "component": "directions in which the pictures of the class differ most: class-wise neural PCA",
    "failure": "features that tell where an uploaded classifier errs: a tree over robust features",
    "bank": "rows of a published bank, to be labelled again",
}
"""How candidates are found."""

GROUPINGS = {
    "predicted": "pictures that the encoder predicts as the class (Salient ImageNet)",
    "label": "pictures that are labelled as the class (Barlow)",
    "both": "pictures where both agree (Spuriosity Rankings)",
}
"""Which pictures form the group of a class."""


class CandidateAnswer(Candidate):
    """One candidate, and where its panel is."""

    tops_names: tuple[str, ...] = Field((), description="The names of `tops`.")
    panel_href: str = Field(description="The panel.", examples=["/v1/discoveries/3f2a.../draft/panels/3-57.jpg"])


class ClassAnswer(DraftClass):
    """What was found for one class, and where its pictures are."""

    candidates: tuple[CandidateAnswer, ...] = ()
    strip_href: str | None = Field(
        None, description="The strip of examples.", examples=["/v1/discoveries/3f2a.../draft/strips/3.jpg"]
    )


def read_draft(queue: JobQueue, job: str) -> Draft:
    """The draft of a discovery.

    Raises:
        NotFound: There is no such discovery.
        Problem: `conflict`, if it has not succeeded.
    """
    record = drafted(queue, job)
    return Draft.model_validate_json(queue.store.read_bytes(queue.file(record.id, "draft.json")))


def drafted(queue: JobQueue, job: str) -> JobRecord:
    """The record of a discovery that has left a draft; raises as `read_draft`."""
    return succeeded(queue.get(job, "discovery"), "draft")


def read_class(queue: JobQueue, draft: Draft, key: str) -> ClassAnswer:
    """One class of a draft, with the addresses of its pictures.

    Args:
        queue: whose store has the draft.
        draft: the draft.
        key: name of the class, or its index.

    Raises:
        NotFound: The draft has no such class.
    """
    known = {str(one.index): one.index for one in draft.classes} | {one.name: one.index for one in draft.classes}
    if key not in known:
        raise NotFound(
            f"The draft has no class {key[:100]!r}.",
            field="class",
            remedy="Use a name or an index of the draft's class list.",
        )
    stored = queue.store.read_bytes(queue.file(draft.id, f"classes/{known[key]}.json"))
    found = DraftClass.model_validate_json(stored)
    root = f"/v1/discoveries/{draft.id}/draft"
    return ClassAnswer(
        **found.model_dump(exclude={"candidates"}),
        candidates=tuple(
            CandidateAnswer(
                **one.model_dump(),
                tops_names=tuple(draft.encoder.classes[index] for index in one.tops),
                panel_href=f"{root}/{one.panel}",
            )
            for one in found.candidates
        ),
        strip_href=found.strip and f"{root}/{found.strip}",
    )


def sprite_file(queue: JobQueue, job: str, kind: PictureKind, name: str) -> str:
    """Where the store has a panel or a strip of a draft.

    Raises:
        NotFound: There is none of this name. Problem: as `read_draft`.
    """
    record = drafted(queue, job)
    file = queue.file(record.id, f"{kind}/{name}")
    if SPRITES[kind].fullmatch(name) is None or not queue.store.exists(file):
        raise NotFound(f"The draft has no {kind[:-1]} {name[:100]!r}.", field="name")
    return file
