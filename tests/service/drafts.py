"""A draft made by hand, as a discovery would have left it in the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from jobs.discovery_request import DiscoveryRequest
from jobs.queue import JobInputs
from jobs.records import JobRecord, JobState
from jobs.store import Store
from models.bank import Statistics
from models.draft import Candidate, Draft, DraftClass, DraftExemplar, DraftSummary, FailureFigures, Prototype
from models.encoder import EncoderSpec
from tests.models.conftest import manifest
from tests.service.conftest import encoded, picture

TILE = 64
WIDTH = 24
"""Channels of the encoder that the draft tells of."""
WHEN = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


def write_draft(store: Store, job: str, classes: Sequence[str], sample: str = "meadow/1.jpg") -> Draft:
    """Put a draft into a store: of every class two channels, a component, and a note where the class is the last.

    Args:
        store: of the service.
        job: id of the discovery, 32 letters and digits.
        classes: their names.
        sample: name of every picture.
    """
    request = DiscoveryRequest(dataset="0" * 64, encoder="bank:tiny", channels=2, components=1, exemplars=3)
    write_job(store, job, request, JobState.SUCCEEDED)
    folder = f"discoveries/{job}"
    described = [_class(index, name, len(classes), sample) for index, name in enumerate(classes)]
    for one in described:
        store.write_bytes(f"{folder}/classes/{one.index}.json", one.model_dump_json().encode())
        store.write_bytes(f"{folder}/strips/{one.index}.jpg", _tiles(1, 6, used=len(one.examples)))
        for candidate in one.candidates:
            used = len(candidate.exemplars) + (candidate.prototype is not None)
            store.write_bytes(f"{folder}/{candidate.panel}", _tiles(3, used, used, seed=candidate.feature_index))
    draft = Draft(
        id=job,
        code_version="0" * 64,
        encoder=EncoderSpec(
            name="tiny", title="A random network", classes=tuple(classes), backbone=manifest().backbone
        ),
        encoder_id="bank:" + "1" * 64,
        weights_digest="2" * 64,
        dataset=request.dataset,
        request=request.model_dump(mode="json"),
        grouping=request.grouping,
        pictures=40 * len(classes),
        accuracy=0.87,
        skipped={"truncated": 2},
        classes=tuple(
            DraftSummary(index=c.index, name=c.name, group=c.group, candidates=len(c.candidates), note=c.note)
            for c in described
        ),
    )
    store.write_bytes(f"{folder}/draft.json", draft.model_dump_json().encode())
    return draft


def write_job(store: Store, job: str, request: DiscoveryRequest, state: JobState, message: str | None = None) -> None:
    """Put a discovery that has ended into a store."""
    asked = request.model_dump(mode="json")
    inputs = JobInputs(kind="discovery", request=asked, pins={}, code_version="0" * 64, created=WHEN)
    record = JobRecord(
        id=job, kind="discovery", state=state, created=WHEN, finished=WHEN, message=message, request=asked
    )
    store.write_bytes(f"discoveries/{job}/request.json", inputs.model_dump_json().encode())
    store.write_bytes(f"discoveries/{job}/job.json", record.model_dump_json().encode())


def _class(index: int, name: str, classes: int, sample: str) -> DraftClass:
    others = tuple(other for other in range(classes) if other != index)
    last = index == classes - 1
    exemplars = tuple(
        DraftExemplar(sample=sample, row=row, activation=3.5 - row, attacked=7.25 + row) for row in range(3)
    )
    statistics = Statistics(images=40, mean=0.5, std=0.25, valid_from=1.0, valid_to=3.5)
    common = {"class_index": index, "statistics": statistics, "exemplars": exemplars, "tile": TILE}
    found = [
        Candidate(
            **common,
            feature_index=2 * index,
            rank=1,
            sources=("importance",),
            importance=1.25,
            tops=others[:2],
            panel=f"panels/{index}-{2 * index}.jpg",
        ),
        Candidate(
            **common,
            feature_index=2 * index + 1,
            rank=2,
            sources=("importance", "failure"),
            importance=0.5,
            failure=FailureFigures(
                threshold=0.75,
                below=True,
                pictures=14,
                base_error_rate=0.2,
                error_rate=0.6,
                error_coverage=0.4,
                held_out_aler=0.3,
                p_value=0.005,
            ),
            panel=f"panels/{index}-{2 * index + 1}.jpg",
        ),
        Candidate(
            **common,
            feature_index=WIDTH + index,
            component=4,
            rank=3,
            sources=("component",),
            importance=0.8,
            prototype=Prototype(activation=12.5, probability=0.98),
            panel=f"panels/{index}-{WIDTH + index}.jpg",
        ),
    ]
    return DraftClass(
        index=index,
        name=name,
        description=f"What {name} is, in a sentence.",
        pictures=40,
        group=38,
        note="Only 1 channel adds to this class's logit." if last else "",
        examples=(sample, "meadow/2.jpg"),
        strip=f"strips/{index}.jpg",
        candidates=tuple(found[:1] if last else found),
    )


def _tiles(rows: int, columns: int, used: int, seed: int = 0) -> bytes:
    """A sprite with pictures in its first `used` columns, white in the others."""
    canvas = np.full((rows * TILE, columns * TILE, 3), 255, dtype=np.uint8)
    for row in range(rows):
        for column in range(used):
            tile = picture(TILE, TILE, seed=100 * seed + 10 * row + column)
            canvas[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = tile
    return encoded(canvas, "JPEG")
