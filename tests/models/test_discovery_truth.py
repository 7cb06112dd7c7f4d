"""What a feature truly shows is told by exact masks; what candidates found is counted; the document follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.backbone import Backbone
from models.bank import Bank, Kind
from models.bank_folders import BUILT_IN
from models.planted.rendering import Picture, render
from models.planted.scenes import CLASSES, Rates, draw_scene
from models.training.discovery_candidates import by_components, by_failure_gain, by_failure_tree, by_importance
from models.training.discovery_networks import kept_backbone
from models.training.discovery_recall import chance, figures
from models.training.discovery_tables import write
from models.training.discovery_truth import COUNTS, Measured, Measurement, Sizes
from models.training.documents import BEGIN, END
from models.training.feature_truth import Judge, JudgingPictures, judging_scenes, kinds_of, part_shown, shown
from models.training.features import Activations
from models.training.pictures import LabelledPictures
from models.training.recipes import PLANTED_BACKBONE

PLAN = replace(
    PLANTED_BACKBONE,
    arguments={"widths": [4, 4, 8, 8], "strides": [1, 2, 2, 1], "stem_stride": 2},
    epochs=1,
    attack=None,
    batch_size=10,
)
"""In bf16: in fp32 torch 2.13 writes past its memory on the CPU where channels-last convolutions are this narrow."""

CPU = torch.device("cpu")
LIGHTHOUSE, FISH = CLASSES.index("lighthouse"), CLASSES.index("fish")


def picture(index: int = 6, **changes: Any) -> Picture:
    """A lighthouse by the water with a flag."""
    return render(replace(draw_scene("lighthouse", 5, index, Rates(rho=1.0)), **changes))


def soft(region: np.ndarray) -> np.ndarray:
    return region.astype(np.float32)


def nothing_found() -> list[list[Kind | None]]:
    return [[None] * 4 for _ in CLASSES]


# ---- the judge -----------------------------------------------------------------------------------------------------


def test_a_mask_of_a_part_shows_that_part() -> None:
    own = picture()
    assert part_shown(soft(own.object_mask), own) == "main_object"
    assert part_shown(soft(own.background_mask), own) == "background"
    assert part_shown(soft(own.prop_mask), own) == "separate_object"
    assert part_shown(np.zeros((96, 96), dtype=np.float32), own) is None


@pytest.mark.parametrize(
    ("changes", "region"),
    [
        ({"shown": "fish"}, "object_mask"),
        ({"background": "sand"}, "background_mask"),
        ({"background": "night"}, "background_mask"),
        ({"prop": "cone"}, "prop_mask"),
    ],
)
def test_what_belongs_to_no_class_or_to_another_is_not_the_class_s(changes: dict[str, Any], region: str) -> None:
    foreign = picture(**changes)
    assert part_shown(soft(getattr(foreign, region)), foreign) is None


def test_a_feature_shows_what_twelve_of_fifteen_pictures_agree_on() -> None:
    own = [picture(index) for index in range(15)]

    def maps(objects: int) -> torch.Tensor:
        return torch.stack(
            [
                torch.from_numpy(soft(one.object_mask if place < objects else one.prop_mask))
                for place, one in enumerate(own)
            ]
        )

    assert shown(maps(12), own) == "main_object"
    assert shown(maps(11), own) is None
    assert shown(maps(3), own) == "separate_object"
    assert shown(-maps(15), own) is None, "the negative part of a map shows nothing"


def test_object_and_cues_come_and_go_independently_on_judging_pictures() -> None:
    scenes = [scene for scene in judging_scenes(16, 3) if scene.label == "lighthouse"]
    parts = [(scene.shown == scene.label, scene.has_background_cue, scene.has_prop_cue) for scene in scenes]
    assert {part: parts.count(part) for part in parts} == {
        (a, b, c): 2 for a in (False, True) for b in (False, True) for c in (False, True)
    }


def test_the_shipped_backbone_s_first_features_show_what_the_bank_says() -> None:
    bank = Bank.load(BUILT_IN / "planted")
    backbone = bank.backbone(runtime="torch", precision="fp32")
    pictures = tuple(render(scene) for scene in judging_scenes(32, 3) if scene.label in ("kite", "fish"))
    images = torch.stack([torch.from_numpy(one.image.transpose(2, 0, 1).copy()) for one in pictures])
    judge = Judge(backbone, JudgingPictures(pictures, images))
    for name, kind in (("kite", "separate_object"), ("fish", "main_object")):
        index = CLASSES.index(name)
        first = bank.features(index)[0]
        unit = torch.eye(backbone.weight.shape[1])[[first.feature_index]]
        assert first.kind == kind
        assert judge.judge(index, torch.cat([unit, -unit])) == [kind, None]


# ---- counts --------------------------------------------------------------------------------------------------------


def test_recall_counts_classes_and_cues_that_at_least_one_candidate_shows() -> None:
    judged = nothing_found()
    judged[LIGHTHOUSE] = ["separate_object", "separate_object", "background", None]
    judged[FISH] = [None, "main_object", None, None]
    one, three = figures(judged, 1), figures(judged, 3)
    assert (one.objects.count, one.backgrounds.count, one.separate_objects.count, one.cues.count) == (0, 0, 1, 1)
    assert (three.objects.count, three.backgrounds.count, three.separate_objects.count, three.cues.count) == (
        1,
        1,
        1,
        2,
    )
    assert (three.objects.total, three.backgrounds.total, three.cues.total) == (10, 5, 10)
    assert (three.precision.count, three.precision.total) == (4, 30)
    assert three.objects.interval is not None
    assert three.objects.interval.low < 0.1 < three.objects.interval.high


def test_a_part_that_a_class_has_not_is_never_counted() -> None:
    assert kinds_of("fish") == ("main_object",)
    judged = nothing_found()
    judged[FISH] = ["background"] * 4
    assert figures(judged, 4).cues.count == 0


def test_chance_is_what_random_draws_find_on_average() -> None:
    judged: list[list[Kind | None]] = [["main_object", "main_object", None, None, None, None] for _ in CLASSES]
    judged[LIGHTHOUSE] = ["background", None, None, None, None, None]
    draws = np.random.default_rng(1)
    drawn = [figures([[parts[j] for j in draws.permutation(len(parts))] for parts in judged], 2) for _ in range(2000)]
    expected = chance(judged, 2)
    for name in ("objects", "backgrounds", "precision"):
        mean = np.mean([getattr(one, name).value for one in drawn])
        assert getattr(expected, name).value == pytest.approx(mean, abs=0.01)
    assert chance(judged, 6).objects.count == 9, "who draws all finds all that there is"


# ---- candidates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A network of eight channels that has hardly learnt anything, kept in a folder."""
    return kept_backbone(PLAN, training(), tmp_path_factory.mktemp("tiny"), CPU)


def training() -> LabelledPictures:
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (20, 3, 96, 96), generator=draw).to(torch.uint8)
    return LabelledPictures(images, torch.arange(20) % len(CLASSES), CLASSES)


def test_a_kept_network_is_not_trained_again(tmp_path: Path) -> None:
    first = kept_backbone(PLAN, training(), tmp_path, CPU)
    (kept,) = tmp_path.glob("*.safetensors")
    written = kept.stat().st_mtime_ns
    assert kept_backbone(PLAN, training(), tmp_path, CPU).weights_digest == first.weights_digest
    assert kept.stat().st_mtime_ns == written
    kept_backbone(replace(PLAN, seed=9), training(), tmp_path, CPU)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2, "another plan is another network"


def test_each_way_puts_its_best_features_first(tiny: Backbone) -> None:
    draw = torch.Generator().manual_seed(2)
    labels = torch.arange(400) % len(CLASSES)
    phi = torch.rand(400, 8, generator=draw)
    failed = labels.new_zeros(400, dtype=torch.bool)
    failed[labels == FISH] = phi[labels == FISH, 3] < 0.4
    assert by_failure_gain(phi, failed, labels, len(CLASSES), 2)[FISH][0].argmax() == 3
    assert by_failure_tree(phi, failed, labels, len(CLASSES), 1)[FISH].argmax(1).tolist() == [3]
    assert len(by_failure_tree(phi, failed, labels, len(CLASSES), 1)[LIGHTHOUSE]) == 0, "nothing fails there"
    weight = tiny.weight[FISH]
    best = by_importance(tiny, Activations(phi, labels), 1)[FISH][0].argmax()
    assert best == (phi[labels == FISH].mean(0) * weight).argmax()
    components = by_components(tiny, Activations(phi, labels), labels, "share", 8)[FISH]
    spread = (phi[labels == FISH] @ components.T).std(0)
    assert spread.tolist() == sorted(spread.tolist(), reverse=True)


# ---- the whole -----------------------------------------------------------------------------------------------------


def test_a_small_run_measures_every_method_and_writes_tables_and_json(tiny: Backbone, tmp_path: Path) -> None:
    sizes = Sizes((8, 1), (40, 2), (40, 3), (40, 4), (20, 5))
    measurement = Measurement(sizes, tmp_path)
    measured = Measured(
        sizes, measurement.compare(tiny, tiny), measurement.barlow(tiny), measurement.rhos({0.5: tiny, 1.0: tiny})
    )
    assert len(measured.barlow) == 6
    document = tmp_path / "truth.md"
    document.write_text(f"# Kept\n\n{BEGIN}\nold\n{END}\n\nkept too\n", encoding="utf-8")
    write(measured, document)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Kept\n")
    assert text.endswith("kept too\n")
    assert "old" not in text
    for heading in (*(f"first {k} candidates" for k in COUNTS), "Barlow, by inspected classifier", "over rho"):
        assert heading in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert sum(row.startswith(("| IV", "| neural PCA", "| chance")) for row in rows) == len(COUNTS) * 8
    figured = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert figured["rhos"][1]["rho"] == 1.0
    write(measured, document)
    assert document.read_text(encoding="utf-8") == text, "writing again changes nothing"


def test_a_document_without_a_place_for_tables_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "other.md"
    document.write_text("# Something else\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the tables"):
        write(Measured(Sizes(), (), (), ()), document)
    assert document.read_text(encoding="utf-8") == "# Something else\n"
