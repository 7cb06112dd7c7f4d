"""Rows of a bank from released labels and what the labelled features do on pictures of their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.agreement import decide
from models.bank import Feature, Votes
from models.components import ClassComponents, Components
from models.importance import importance
from models.training.features import statistics
from models.vote_rows import Pair


def channel_rows(
    pairs: Sequence[Pair], activations: Mapping[int, Tensor], weight: Tensor, threshold: int = 3
) -> list[Feature]:
    """Rows of labelled channels.

    Args:
        pairs: with their votes, by class and rank.
        activations: by class, float [N, K]: the K channels of its pairs, in the order of `pairs`, on the N pictures of
            its group; pairs of classes that are not in it get no row.
        weight: float [C, D], the head.
        threshold: votes that make a feature spurious.
    """
    rows, places = [], dict.fromkeys(activations, 0)
    for pair in pairs:
        index = pair.class_index
        if index not in activations:
            continue
        values = activations[index][:, places[index]]
        places[index] += 1
        label, kind = decide(pair.votes, threshold)
        found = statistics(values)
        rows.append(
            Feature(
                class_index=index,
                feature_index=pair.feature_index,
                rank=pair.rank,
                importance=round(float(importance(found.mean, float(weight[index, pair.feature_index]))), 5),
                label=label,
                kind=kind,
                votes=pair.votes,
                statistics=found,
            )
        )
    return rows


@dataclass(frozen=True)
class ComponentRows:
    """Rows of one class's labelled components with their directions.

    Attributes:
        features: one row for each component that the class's pictures have.
        components: their directions, in the same order.
        missing: components, by eigenvalue from 0, that so few pictures do not have.
    """

    features: tuple[Feature, ...]
    components: Components
    missing: tuple[int, ...]


def component_rows(
    class_index: int, labelled: Sequence[int], phi: Tensor, weight: Tensor, bias: float, first: int
) -> ComponentRows:
    """Rows of labelled neural principal components of a class, all spurious.

    The release says neither how many people judged a component nor whether they saw background or an object: it has no
    votes, and its kind is ambiguous. Its importance is the mean |alpha| over the pictures.

    Args:
        labelled: places by eigenvalue, from 0, in the release's order, which gives the rank.
        phi: float [N, D], of the class's pictures.
        weight, bias: float [D] and the class's bias, of the head.
        first: feature index of the first row: D and the number of components that other classes have before it.

    Raises:
        FeaturesError: there is no picture, or a value is not finite.
    """
    own = ClassComponents.of_features(phi, weight, bias)
    present = [place for place in labelled if place < len(own)]
    components = own.as_components(present)
    alphas = components.alphas(phi.float().cpu())
    features = tuple(
        Feature(
            class_index=class_index,
            feature_index=first + number,
            component=place,
            rank=number + 1,
            importance=round(float(alphas[:, number].abs().mean()), 5),
            label="spurious",
            kind="ambiguous",
            votes=Votes(),
            statistics=statistics(alphas[:, number]),
        )
        for number, place in enumerate(present)
    )
    return ComponentRows(features, components, tuple(place for place in labelled if place >= len(own)))


def joined(parts: Sequence[ComponentRows]) -> tuple[tuple[Feature, ...], Components]:
    """The rows of several classes, at least one, whose feature indices follow each other."""
    features = tuple(feature for part in parts for feature in part.features)
    return features, Components(
        torch.cat([part.components.directions for part in parts]),
        torch.cat([part.components.offsets for part in parts]),
    )
