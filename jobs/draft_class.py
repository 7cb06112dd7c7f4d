"""The second pass of a discovery: the candidates of one class, and the panels that people will label them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.candidates import Differentiable, Found, find_candidates
from jobs.datasets import Skipped, read_rows
from jobs.discovery_request import DiscoveryRequest
from jobs.discovery_subjects import Subjects
from jobs.panels import BLANK, heat_tiles, sprite, tiles
from jobs.phi_sample import PhiSample
from jobs.pictures import PictureError, decode
from jobs.selection import ChosenClass, Selection, short
from models.backbone import Backbone
from models.draft import Candidate, DraftClass, DraftExemplar, Prototype
from models.feature_attack import feature_attack
from models.geometry import prepare

STRIP_PICTURES = 6
"""Examples of the class shown above its candidates."""


@dataclass(frozen=True)
class Described:
    """A class of a draft and the files that it names, below the draft's folder."""

    described: DraftClass
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """A picture of a panel: its name and pixels, float [3, s, s] in [0, 1]."""

    sample: str
    pixels: Tensor


def describe_class(
    chosen: ChosenClass,
    selection: Selection,
    sample: PhiSample,
    subjects: Subjects,
    request: DiscoveryRequest,
    progress: Callable[[int], None],
) -> Described:
    """Find the candidates of one class, open the pictures of their panels, and draw them.

    Args:
        chosen: what the first pass says of the class.
        selection: of all classes, which tells for what else a channel is important.
        sample: the kept pictures of the class, rows ascending.
        subjects: encoder and data set.
        request: parameters.
        progress: called at every step of every climb with the number of pictures drawn; may raise to stop.
    """
    drawn = 0

    def features(pictures: Tensor) -> Tensor:
        progress(drawn)
        return subjects.backbone.activations(pictures)

    found, directions, note = find_candidates(chosen, sample, subjects.backbone, features, request, subjects.again)
    labelled = sample.row[sample.label == chosen.index][:STRIP_PICTURES].tolist()
    wanted = {row for one in found for row, _ in one.strongest} | set(labelled)
    opened = open_pictures(sorted(wanted), subjects)
    files: dict[str, bytes] = {}
    strip = [opened[row] for row in labelled if row in opened]
    strip_file = f"strips/{chosen.index}.jpg" if strip else None
    if strip_file is not None:
        files[strip_file] = sprite([tiles(torch.stack([one.pixels for one in strip]), request.tile)], STRIP_PICTURES)
    if directions is not None:
        files[f"directions/{chosen.index}.safetensors"] = directions
    tops = selection.tops()
    candidates = []
    for rank, one in enumerate(found, start=1):
        shown = [(row, value) for row, value in one.strongest if row in opened]
        if not shown:  # none of its pictures can be read any more
            continue
        panel, attacked = _panel(one, [opened[row].pixels for row, _ in shown], subjects.backbone, features, request)
        drawn += len(shown)
        name = f"panels/{chosen.index}-{one.feature_index}.jpg"
        files[name] = panel
        candidates.append(
            Candidate(
                class_index=chosen.index,
                feature_index=one.feature_index,
                component=one.component,
                rank=rank,
                sources=one.sources,
                importance=one.importance,
                failure=one.failure,
                tops=tuple(other for other in tops.get(one.feature_index, ()) if other != chosen.index),
                statistics=one.statistics,
                exemplars=tuple(
                    DraftExemplar(sample=opened[row].sample, row=row, activation=value, attacked=short(after))
                    for (row, value), after in zip(shown, attacked, strict=True)
                ),
                prototype=None
                if one.prototype is None
                else Prototype(activation=short(one.prototype.activation), probability=one.prototype.probability),
                panel=name,
                tile=request.tile,
            )
        )
    name = subjects.spec.classes[chosen.index]
    described = DraftClass(
        index=chosen.index,
        name=name,
        description=(request.descriptions or {}).get(name, ""),
        pictures=chosen.labelled,
        group=chosen.group,
        note=note,
        examples=tuple(one.sample for one in strip),
        strip=strip_file,
        candidates=tuple(candidates),
    )
    return Described(described, files)


def open_pictures(rows: Sequence[int], subjects: Subjects) -> dict[int, Opened]:
    """The pictures of some rows as the encoder sees them; those that can no longer be read are left out."""
    opened = {}
    for sample in read_rows(subjects.store, subjects.dataset, rows):
        if isinstance(sample.content, Skipped):
            continue
        try:
            pixels: NDArray[np.uint8] = decode(sample.content, subjects.settings.max_pixels)
        except PictureError:
            continue
        opened[sample.row] = Opened(sample.sample, prepare(pixels, subjects.backbone.preprocessing).float() / 255)
    return opened


def _panel(
    one: Found, pictures: Sequence[Tensor], backbone: Backbone, features: Differentiable, request: DiscoveryRequest
) -> tuple[bytes, list[float]]:
    """The sprite of one candidate, and the activation of every exemplar after its attack."""
    stacked = torch.stack(list(pictures))
    attack = feature_attack(one.activation(features), stacked.to(backbone.device), steps=request.attack_steps)
    shown, heat = tiles(stacked, request.tile), _heat(one, stacked, backbone, request.tile)
    columns = request.exemplars
    if one.prototype is not None:
        made = one.prototype.picture[None]
        blank = torch.full((columns - len(shown), *shown.shape[1:]), BLANK, dtype=torch.uint8)
        shown = torch.cat([shown, blank, tiles(made, request.tile)])
        heat = torch.cat([heat, blank, _heat(one, made, backbone, request.tile)])
        columns += 1
    rows = [shown, heat, tiles(attack.pictures, request.tile)]
    return sprite(rows, columns), attack.activations.tolist()


def _heat(one: Found, pictures: Tensor, backbone: Backbone, tile: int) -> Tensor:
    maps = backbone.forward((pictures * 255).round().to(torch.uint8)).maps.cpu()
    return heat_tiles(pictures, torch.einsum("d,ndhw->nhw", one.direction, maps), tile)
