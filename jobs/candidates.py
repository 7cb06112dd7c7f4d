"""The candidates of one class: its most important channels, its principal components, and where a classifier fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from jobs.discovery_request import DiscoveryRequest
from jobs.failures import find_failures
from jobs.phi_sample import PhiSample
from jobs.selection import ChosenChannel, ChosenClass, short
from models.ascent import Activation, of_directions
from models.backbone import Backbone
from models.bank import COMPONENTS, Bank, Statistics
from models.components import ClassComponents, Components
from models.draft import FailureFigures, Source
from models.importance import importance
from models.prototype import prototypes

Differentiable = Callable[[Tensor], Tensor]
"""`Backbone.activations`, or what calls it: pictures float [N, 3, s, s] -> phi float [N, D], with gradients."""

QUANTILE = 0.8
"""A mask is taken as valid on the top 20 % of its class, until a validation round has bounded it."""


@dataclass(frozen=True)
class Made:
    """The prototype of a component: float32 [3, s, s] in [0, 1], what it reads, and how surely it is of the class."""

    picture: Tensor
    activation: float
    probability: float


@dataclass(frozen=True)
class Found:
    """A candidate before it is drawn.

    Attributes:
        feature_index, component, sources, importance, statistics, failure: as in `models.draft.Candidate`.
        strongest: (row, activation) of the exemplars, best first.
        direction: float32 [D]; the activation is `direction . phi - offset`, the map `direction . F(u)`.
        offset: see there.
        prototype: of a component.
    """

    feature_index: int
    component: int | None
    sources: tuple[Source, ...]
    importance: float
    statistics: Statistics
    strongest: Sequence[tuple[int, float]]
    direction: Tensor
    offset: float = 0.0
    failure: FailureFigures | None = None
    prototype: Made | None = None

    def activation(self, features: Differentiable) -> Activation:
        """What a picture reads for this candidate, with gradients."""
        return lambda pictures: features(pictures) @ self.direction.to(pictures.device) - self.offset


def find_candidates(
    chosen: ChosenClass,
    sample: PhiSample,
    backbone: Backbone,
    features: Differentiable,
    request: DiscoveryRequest,
    again: Bank | None = None,
) -> tuple[list[Found], bytes | None, str]:
    """All candidates of a class in the order they are shown.

    Args:
        chosen: what the first pass says of the class.
        sample: the kept pictures of its group, rows ascending.
        backbone: the encoder.
        features: its features, for the climbs.
        request: parameters.
        again: a bank whose rows are wanted in place of candidates.

    Returns:
        The candidates; the directions of its components as a safetensors file, None without any; and why there are
        fewer than asked for, in words.
    """
    if not chosen.group:
        return [], None, f"No picture is in the group of this class (grouping: {request.grouping})."
    if not len(sample):
        return [], None, f"None of the {chosen.group} pictures in its group was drawn: far more have its label."
    if again is not None:
        return _rows_again(chosen, sample, again, backbone, features, request), None, ""
    found = [_channel(channel, sample) for channel in chosen.channels]
    notes = []
    if len(found) < request.channels:
        notes.append(f"Only {len(found)} channels add to this class's logit.")
    directions = None
    if request.components:
        if len(sample) < 2:
            notes.append("Components need at least two pictures.")
        else:
            components, directions = _components(chosen.index, sample, backbone, features, request)
            if len(components) < request.components:
                notes.append(f"Its {len(sample)} pictures span only {len(components)} components.")
            found += components
    if request.classifier is not None:
        head = backbone.weight[chosen.index].cpu().numpy()
        values = importance(sample.phi.mean(axis=0, dtype=np.float64), head)
        modes, note = find_failures(sample, request)
        notes += [note] if note else []
        for feature, figures in modes:
            _take_in(found, feature, figures, sample, values, request.exemplars)
    return found, directions, " ".join(notes)


def _channel(channel: ChosenChannel, sample: PhiSample) -> Found:
    return Found(
        feature_index=channel.channel,
        component=None,
        sources=("importance",),
        importance=channel.importance,
        statistics=Statistics(
            images=channel.images,
            mean=channel.mean,
            std=channel.std,
            valid_from=short(np.quantile(sample.phi[:, channel.channel].astype(np.float64), QUANTILE)),
            valid_to=channel.largest,
            quantile=QUANTILE,
        ),
        strongest=channel.strongest,
        direction=_one_hot(channel.channel, sample),
    )


def _rows_again(
    chosen: ChosenClass,
    sample: PhiSample,
    bank: Bank,
    backbone: Backbone,
    features: Differentiable,
    request: DiscoveryRequest,
) -> list[Found]:
    """The rows that a bank has of a class, by rank, on these pictures."""
    rows = bank.features(chosen.index)
    found = {channel.channel: _channel(channel, sample) for channel in chosen.channels}
    places = {row.feature_index: row.component for row in rows if row.component is not None}
    if places:
        every, own = Components.load(bank.path / COMPONENTS), [index - sample.phi.shape[1] for index in places]
        components = Components(every.directions[own], every.offsets[own])
        made = _prototypes(components, list(places.values()), chosen.index, backbone, features, request)
        for number, (index, place) in enumerate(places.items()):
            found[index] = _component(index, place, components, number, made[number], sample, request.exemplars)
    return [replace(found[row.feature_index], sources=("bank",)) for row in rows]


def _components(
    class_index: int, sample: PhiSample, backbone: Backbone, features: Differentiable, request: DiscoveryRequest
) -> tuple[list[Found], bytes]:
    """The components whose prototypes the encoder takes most surely for the class (Neuhaus et al. 2023)."""
    phi = torch.from_numpy(sample.phi)
    weight, bias = backbone.weight[class_index].cpu(), float(backbone.bias[class_index])
    components = ClassComponents.of_features(phi, weight, bias)
    tried = range(min(len(components), max(request.component_candidates, request.components)))
    if not tried:
        return [], _as_bytes(Components(torch.zeros(0, phi.shape[1]), torch.zeros(0)))
    rows = components.as_components(tried)
    made = _prototypes(rows, tried, class_index, backbone, features, request)
    best = sorted(tried, key=lambda place: -made[place].probability)[: request.components]
    first = phi.shape[1] + class_index * request.components
    found = [
        _component(first + number, place, rows, place, made[place], sample, request.exemplars)
        for number, place in enumerate(best)
    ]
    return found, _as_bytes(components.as_components(best))


def _component(
    feature_index: int, place: int, rows: Components, number: int, made: Made, sample: PhiSample, count: int
) -> Found:
    """Row `number` of some components, whose place by eigenvalue is `place`."""
    direction, offset = rows.directions[number], float(rows.offsets[number])
    alphas = (torch.from_numpy(sample.phi).double() @ direction.double() - offset).numpy()
    return Found(
        feature_index=feature_index,
        component=place,
        sources=("component",),
        importance=short(np.abs(alphas).mean()),
        statistics=_statistics(alphas),
        strongest=_strongest(alphas, sample, count),
        direction=direction,
        offset=offset,
        prototype=made,
    )


def _prototypes(
    rows: Components,
    places: Sequence[int],
    class_index: int,
    backbone: Backbone,
    features: Differentiable,
    request: DiscoveryRequest,
) -> list[Made]:
    """One prototype per row, in batches of the request's size; what one becomes depends on its place alone."""
    side = backbone.preprocessing.size
    made: list[Made] = []
    for start in range(0, len(rows.directions), request.batch_size):
        directions = rows.directions[start : start + request.batch_size].to(backbone.device)
        climbed = prototypes(
            of_directions(features, directions),
            [(class_index, place) for place in places[start : start + request.batch_size]],
            side,
            steps=request.prototype_steps,
            seed=request.seed,
            device=backbone.device,
        )
        pictures = climbed.pictures.cpu()
        logits = backbone.forward((pictures * 255).round().to(torch.uint8)).logits
        surely = torch.softmax(logits, dim=1)[:, class_index].tolist()
        made += [
            Made(picture, activation, probability)
            for picture, activation, probability in zip(pictures, climbed.activations.tolist(), surely, strict=True)
        ]
    return made


def _take_in(
    found: list[Found],
    feature: int,
    figures: FailureFigures,
    sample: PhiSample,
    values: NDArray[np.float64],
    count: int,
) -> None:
    """Add a feature that tells failures, or note so where it is a candidate already."""
    for place, one in enumerate(found):
        if one.feature_index == feature:
            found[place] = replace(one, sources=(*one.sources, "failure"), failure=figures)
            return
    activation = sample.phi[:, feature].astype(np.float64)
    found.append(
        Found(
            feature_index=feature,
            component=None,
            sources=("failure",),
            importance=short(values[feature]),
            statistics=_statistics(activation),
            strongest=_strongest(activation, sample, count),
            direction=_one_hot(feature, sample),
            failure=figures,
        )
    )


def _one_hot(channel: int, sample: PhiSample) -> Tensor:
    direction = torch.zeros(sample.phi.shape[1])
    direction[channel] = 1.0
    return direction


def _statistics(activation: NDArray[np.float64]) -> Statistics:
    return Statistics(
        images=len(activation),
        mean=short(activation.mean()),
        std=short(activation.std()),
        valid_from=short(np.quantile(activation, QUANTILE)),
        valid_to=short(activation.max()),
        quantile=QUANTILE,
    )


def _strongest(activation: NDArray[np.float64], sample: PhiSample, count: int) -> list[tuple[int, float]]:
    best = np.argsort(-activation, kind="stable")[:count]
    return [(int(sample.row[place]), short(activation[place])) for place in best]


def _as_bytes(components: Components) -> bytes:
    return save({"directions": components.directions, "offsets": components.offsets})
