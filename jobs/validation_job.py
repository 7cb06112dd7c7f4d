"""The pictures of a second round, as a job: for each panel the strongest, middle and weakest of its class's top fifth.

Discovery kept the features of up to 2,048 pictures of every class, so nothing but those few pictures is opened again.
`annotations/<id>/validation/` takes `<panel>-<group>.jpg`, `classes/<index>.json`, and last `rows.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.annotation import Panels, Row, Rows, draft_folder, folder
from jobs.annotation_index import read_record
from jobs.annotation_panels import read_classes, read_draft
from jobs.annotation_validation import GROUPS
from jobs.discovery import class_samples, read_plan
from jobs.discovery_request import DiscoveryRequest
from jobs.discovery_subjects import Subjects, open_subjects
from jobs.draft_class import Opened, open_pictures
from jobs.errors import Invalid
from jobs.kinds import Kind, Work
from jobs.panels import heat_tiles, sprite, tiles
from jobs.phi_sample import PhiSample
from jobs.progress import progress_of
from jobs.queue import JobInputs, JobQueue
from jobs.settings import Settings
from jobs.store import Store
from jobs.validation_request import ValidationRequest
from models.components import Components
from models.draft import Candidate, Draft

CLASSES_PER_SHARD = 8
TOP = 0.2
"""Of a class's group: as far as the second study of Salient ImageNet looked."""


@dataclass(frozen=True)
class Chosen:
    """The pictures of one row, before they are opened.

    Attributes:
        groups: by name, the rows of the data set, strongest first.
        group: pictures of the class's group that are known. top: of them, those in the top fifth.
        lowest: activation of the weakest picture of the top fifth.
    """

    groups: Mapping[str, Sequence[int]]
    group: int
    top: int
    lowest: float


def choose(rows: NDArray[np.int64], values: NDArray[np.float64], pictures: int) -> Chosen:
    """The strongest, middle and weakest pictures of the top fifth.

    Args:
        rows: int64 [N], of the data set, ascending; N >= 1.
        values: float [N], activation of the feature on them.
        pictures: in each group; fewer where the fifth has not thrice as many.
    """
    order = np.argsort(-values, kind="stable")
    top = math.ceil(TOP * len(order))
    each = max(1, min(pictures, top // len(GROUPS)))
    middle = (top - each) // 2
    starts = {"highest": 0, "middle": middle, "lowest": top - each}
    groups = {name: rows[order[start : start + each]].tolist() for name, start in starts.items()}
    return Chosen(groups, len(order), top, float(values[order[top - 1]]))


def check(store: Store, settings: Settings, request: ValidationRequest) -> dict[str, str]:
    """Raises `NotFound` where there is no such annotation, `Invalid` where its draft kept no features."""
    draft = read_record(store, request.annotation).draft
    if not store.exists(f"{draft_folder(draft)}/plan.json"):
        raise Invalid(
            "The draft kept no features of its pictures, which a second round is drawn from.",
            field="annotation",
            remedy="Discover the features anew, and label that draft.",
        )
    return {}


def plan(queue: JobQueue, job: str, inputs: JobInputs) -> Work:
    """A shard for every few classes."""
    request = _request(inputs)
    panels = _panels(queue.store, request)
    there = set(queue.store.list(f"{_place(request)}/classes"))
    shards = [_shard_classes(panels, number) for number in range(_shards(panels))]
    finished = {number for number, classes in enumerate(shards) if all(f"{index}.json" in there for index in classes)}
    return Work([_pictures(panels, classes, request) for classes in shards], frozenset(finished))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> int:
    """Draw the rows of some classes, unless they are there."""
    store, request = queue.store, _request(inputs)
    panels = _panels(store, request)
    classes = _shard_classes(panels, shard)
    missing = [index for index in classes if not store.exists(_class_file(request, index))]
    if missing:
        draft = read_draft(store, read_record(store, request.annotation).draft)
        asked = DiscoveryRequest.model_validate(draft.request | {"encoder": draft.encoder_id})
        report, done = progress_of(queue.ledger, job, shard), 0
        subjects = open_subjects(store, queue.settings, asked)
        _require_weights(subjects, draft)
        samples = class_samples(store, read_plan(store, draft.id), missing, subjects, asked.seed)
        components = _components(store, draft, panels)
        for described in read_classes(store, draft, missing):
            wanted = [one for one in described.candidates if _panel(one) in panels]
            sample = samples[described.index]
            rows = _draw(queue, request, wanted, sample, components, subjects) if len(sample) else []
            kept = Rows(tile=request.tile, rows=tuple(rows))
            store.write_bytes(_class_file(request, described.index), kept.model_dump_json().encode())
            done += _pictures(panels, [described.index], request)
            report(done)
    return _pictures(panels, classes, request)


def reduce(queue: JobQueue, job: str, inputs: JobInputs) -> Work | None:
    """Join the rows of all classes in the order of the panels."""
    store, request = queue.store, _request(inputs)
    panels = _panels(store, request)
    found: dict[str, Row] = {}
    for index in _classes(panels):
        rows = Rows.model_validate_json(store.read_bytes(_class_file(request, index))).rows
        found |= {row.panel: row for row in rows}
    whole = Rows(tile=request.tile, rows=tuple(found[panel] for panel in panels if panel in found))
    store.write_bytes(f"{_place(request)}/rows.json", whole.model_dump_json().encode())
    return None


KIND = Kind("validation", ValidationRequest, check, plan, run_shard, reduce)


def _draw(
    queue: JobQueue,
    request: ValidationRequest,
    candidates: Sequence[Candidate],
    sample: PhiSample,
    components: Components | None,
    subjects: Subjects,
) -> list[Row]:
    """The three sprites of every candidate of a class: pictures above, heat maps below."""
    phi = torch.from_numpy(sample.phi)
    width = phi.shape[1]
    directions = {one.feature_index: _direction(one, width, components) for one in candidates}
    chosen = {}
    for one in candidates:
        direction, offset = directions[one.feature_index]
        values = (phi.double() @ direction.double() - offset).numpy()
        chosen[one.feature_index] = choose(sample.row, values, request.pictures)
    wanted = {row for found in chosen.values() for rows in found.groups.values() for row in rows}
    opened = open_pictures(sorted(wanted), subjects)
    rows = []
    for one in candidates:
        found = chosen[one.feature_index]
        if any(row not in opened for group in found.groups.values() for row in group):
            continue  # a picture cannot be read any more: what is left would not be the groups that are asked about
        for name, group in found.groups.items():
            content = _sprite([opened[row] for row in group], directions[one.feature_index][0], subjects, request)
            queue.store.write_bytes(f"{_place(request)}/{_panel(one)}-{name}.jpg", content)
        pictures = len(found.groups[GROUPS[0]])
        lowest = float(f"{found.lowest:.6g}")
        rows.append(Row(panel=_panel(one), pictures=pictures, group=found.group, top=found.top, lowest=lowest))
    return rows


def _sprite(opened: Sequence[Opened], direction: Tensor, subjects: Subjects, request: ValidationRequest) -> bytes:
    stacked = torch.stack([one.pixels for one in opened])
    maps = subjects.backbone.forward((stacked * 255).round().to(torch.uint8)).maps.cpu()
    heat = heat_tiles(stacked, torch.einsum("d,ndhw->nhw", direction, maps), request.tile)
    return sprite([tiles(stacked, request.tile), heat], len(opened))


def _direction(one: Candidate, width: int, components: Components | None) -> tuple[Tensor, float]:
    """float32 [D] and the offset of a candidate's activation."""
    if one.component is not None and components is not None:
        row = one.feature_index - width
        return components.directions[row], float(components.offsets[row])
    direction = torch.zeros(width)
    direction[one.feature_index] = 1.0
    return direction, 0.0


def _components(store: Store, draft: Draft, panels: Mapping[str, int]) -> Components | None:
    width = draft.encoder.backbone.maps[0]
    if all(int(panel.split("-")[1]) < width for panel in panels):
        return None
    with store.local_copy(f"{draft_folder(draft.id)}/components.safetensors") as path:
        return Components.load(path)


def _require_weights(subjects: Subjects, draft: Draft) -> None:
    if subjects.backbone.weights_digest != draft.weights_digest:
        raise Invalid("The draft's encoder has other weights now than those that it was made with.", field="annotation")


def _panels(store: Store, request: ValidationRequest) -> dict[str, int]:
    """Class index by panel, in the panels' order."""
    content = store.read_bytes(f"{folder(request.annotation)}/panels.json")
    return {panel.id: panel.class_index for panel in Panels.model_validate_json(content).panels}


def _classes(panels: Mapping[str, int]) -> list[int]:
    return list(dict.fromkeys(panels.values()))


def _shards(panels: Mapping[str, int]) -> int:
    return math.ceil(len(_classes(panels)) / CLASSES_PER_SHARD)


def _shard_classes(panels: Mapping[str, int], shard: int) -> list[int]:
    return _classes(panels)[shard * CLASSES_PER_SHARD : (shard + 1) * CLASSES_PER_SHARD]


def _pictures(panels: Mapping[str, int], classes: Sequence[int], request: ValidationRequest) -> int:
    return sum(index in classes for index in panels.values()) * len(GROUPS) * request.pictures


def _request(inputs: JobInputs) -> ValidationRequest:
    return ValidationRequest.model_validate(inputs.pinned())


def _place(request: ValidationRequest) -> str:
    return f"{folder(request.annotation)}/validation"


def _class_file(request: ValidationRequest, index: int) -> str:
    return f"{_place(request)}/classes/{index}.json"


def _panel(one: Candidate) -> str:
    return f"{one.class_index}-{one.feature_index}"
