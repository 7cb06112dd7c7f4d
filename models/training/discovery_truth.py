"""How many true objects and cues each way of discovery finds on planted pictures, whose masks are known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.backbone import Backbone
from models.bank import Bank
from models.bank_folders import BUILT_IN
from models.classifiers import open_classifier
from models.classifiers.spec import ClassifierSpec
from models.importance import Grouping, group_of
from models.planted.scenes import CLASSES, Rates, Scene, draw_scenes
from models.shipped import shipped_classifiers
from models.training import recipes
from models.training.discovery_candidates import (
    Candidates,
    Order,
    by_components,
    by_failure_gain,
    by_failure_tree,
    by_importance,
    every_channel,
    predictions,
)
from models.training.discovery_networks import RHO_RATES, ordinary_backbone, rho_backbones
from models.training.discovery_recall import Figures, Judged, chance, figures
from models.training.feature_truth import Judge, JudgingPictures
from models.training.features import activations
from models.training.pictures import LabelledPictures
from models.training.planted_pictures import draw_pictures
from models.training.reliance import CUED_CLASSES

COUNTS = (1, 3, 5, 10, 16)
"""Candidates of each class: 1 is Barlow's, 5 Salient ImageNet's, 16 the planted bank's."""

RHO_COUNT = 5
DEPTHS = (1, 3)
ORDERS: Mapping[Order, str] = {"variance": "by eigenvalue", "share": "by spread of alpha"}
GROUPINGS: tuple[Grouping, ...] = ("label", "predicted")
FAILING = ("planted-3", "planted-4", "planted-5")


@dataclass(frozen=True)
class Sizes:
    """Numbers and seeds of pictures. No picture of one seed is met under another, in training neither.

    judging: for each class, divisible by 8; discovery: that candidates are found on, also those of each rho; failing:
    that the inspected classifiers are run on; intervening: that reliance is measured on.
    """

    judging: tuple[int, int] = (64, 71)
    discovery: tuple[int, int] = (recipes.PLANTED_LABELLING, recipes.PLANTED_LABELLING_SEED)
    rho_discovery: tuple[int, int] = (1000, 72)
    failing: tuple[int, int] = (1500, 73)
    intervening: tuple[int, int] = (400, 74)


@dataclass(frozen=True)
class Method:
    """What a way of discovery found: its figures by number of candidates."""

    name: str
    figures: tuple[Figures, ...]


@dataclass(frozen=True)
class Barlow:
    """What was found of one inspected classifier's failures.

    grouping: a class's pictures are those of its "label" or those "predicted" as it. gain: the channels that tell most
    of failure, for each of ``COUNTS``; trees: the channels on the paths to failing leaves, for each of ``DEPTHS``; how
    many those are the precision's total says.
    """

    classifier: str
    grouping: Grouping
    failures: int
    pictures: int
    gain: tuple[Figures, ...]
    trees: tuple[Figures, ...]


@dataclass(frozen=True)
class RhoPoint:
    """What IV found in a network trained where cues are shown at the rate ``rho``, against chance in the same network.

    own_cues, swapped_cues: the network's accuracy on the same scenes of the classes that have cues; their difference is
    how much it relies on them.
    """

    rho: float
    own_cues: float
    swapped_cues: float
    figures: Figures
    by_chance: Figures


@dataclass(frozen=True)
class Measured:
    """Everything that the document says."""

    sizes: Sizes
    methods: tuple[Method, ...]
    barlow: tuple[Barlow, ...]
    rhos: tuple[RhoPoint, ...]


class Measurement:
    """The pictures that all figures share. work: folder in which drawn pictures and trained networks are kept."""

    def __init__(self, sizes: Sizes, work: Path) -> None:
        self.sizes = sizes
        self.work = work
        self.judging = JudgingPictures.draw(*sizes.judging)

    def compare(self, robust: Backbone, ordinary: Backbone) -> tuple[Method, ...]:
        """IV, neural PCA and chance, on either backbone."""
        pictures = self._drawn(draw_scenes(*self.sizes.discovery, recipes.PLANTED_TEST_RATES))
        most = max(COUNTS)
        methods = []
        for title, backbone in (("robust", robust), ("ordinary", ordinary)):
            judge = Judge(backbone, self.judging)
            found = activations(backbone, pictures.images)
            ways = {"IV": by_importance(backbone, found, most)}
            for order, name in ORDERS.items():
                ways[f"neural PCA {name}"] = by_components(backbone, found, pictures.labels, order, most)
            methods += [_counted(f"{name}, {title}", _judged(judge, way)) for name, way in ways.items()]
            every = _judged(judge, every_channel(backbone))
            methods.append(Method(f"chance, {title}", tuple(chance(every, k) for k in COUNTS)))
        return tuple(methods)

    def barlow(self, robust: Backbone) -> tuple[Barlow, ...]:
        """Barlow on the failures of shipped classifiers that rely on cues; half of the pictures have them swapped."""
        scenes = [scene.with_own_cues() for scene in draw_scenes(*self.sizes.failing, Rates())]
        pictures = self._drawn(
            [scene.with_cues_swapped() if scene.index // len(CLASSES) % 2 else scene for scene in scenes]
        )
        judge = Judge(robust, self.judging)
        phi = activations(robust, pictures.images).phi
        rows = []
        for name in FAILING:
            shipped = shipped_classifiers()[name]
            spec = ClassifierSpec.model_validate_json(shipped.spec.read_text(encoding="utf-8"))
            predicted = predictions(open_classifier(shipped.model, spec), pictures.images)
            failed = predicted != pictures.labels
            for grouping in GROUPINGS:
                group = group_of(predicted, pictures.labels, grouping)
                told = _judged(judge, by_failure_gain(phi, failed, group, len(CLASSES), max(COUNTS)))
                grown = [_judged(judge, by_failure_tree(phi, failed, group, len(CLASSES), depth)) for depth in DEPTHS]
                rows.append(
                    Barlow(
                        name,
                        grouping,
                        int(failed.sum()),
                        len(pictures),
                        tuple(figures(told, k) for k in COUNTS),
                        tuple(figures(tree, len(phi[0])) for tree in grown),
                    )
                )
        return tuple(rows)

    def rhos(self, backbones: Mapping[float, Backbone]) -> tuple[RhoPoint, ...]:
        """IV at each rho, found on pictures of that rho."""
        own = [
            scene.with_own_cues()
            for scene in draw_scenes(*self.sizes.intervening, Rates())
            if scene.label in CUED_CLASSES
        ]
        versions = (own, [scene.with_cues_swapped() for scene in own])
        points = []
        for rho, backbone in backbones.items():
            pictures = self._drawn(draw_scenes(*self.sizes.rho_discovery, replace(RHO_RATES, rho=rho)))
            judge = Judge(backbone, self.judging)
            found = _judged(judge, by_importance(backbone, activations(backbone, pictures.images), RHO_COUNT))
            every = _judged(judge, every_channel(backbone))
            own_cues, swapped_cues = (_accuracy(backbone, self._drawn(version)) for version in versions)
            points.append(RhoPoint(rho, own_cues, swapped_cues, figures(found, RHO_COUNT), chance(every, RHO_COUNT)))
        return tuple(points)

    def _drawn(self, scenes: Sequence[Scene]) -> LabelledPictures:
        return draw_pictures(scenes, self.work)


def measure(sizes: Sizes, work: Path, device: torch.device) -> Measured:
    """Train what is not in ``work`` and measure everything."""
    rhos, ordinary = rho_backbones(work, device), ordinary_backbone(work, device)
    robust = Bank.load(BUILT_IN / "planted").backbone(runtime="torch", precision="fp32")
    measurement = Measurement(sizes, work)
    return Measured(sizes, measurement.compare(robust, ordinary), measurement.barlow(robust), measurement.rhos(rhos))


def _judged(judge: Judge, candidates: Candidates) -> Judged:
    return [judge.judge(index, directions) for index, directions in enumerate(candidates)]


def _counted(name: str, judged: Judged) -> Method:
    return Method(name, tuple(figures(judged, k) for k in COUNTS))


def _accuracy(backbone: Backbone, pictures: LabelledPictures) -> float:
    return float((activations(backbone, pictures.images).predicted == pictures.labels).float().mean())
