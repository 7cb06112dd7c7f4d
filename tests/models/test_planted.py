"""Planted pictures: the same everywhere, exact masks, interventions that change what they say and nothing else."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.planted.archive import write_archive
from models.planted.backgrounds import BACKGROUNDS
from models.planted.props import PROPS
from models.planted.rendering import render
from models.planted.scenes import (
    BACKGROUND_CUES,
    CLASSES,
    NEUTRAL_BACKGROUNDS,
    PROP_CUES,
    Rates,
    Scene,
    draw_scene,
    draw_scenes,
)
from models.planted.shapes import Region

EXPECTED = "810d61c1b1f655c371b3a84b325f1d7f5711a56fb39814525775cd33601be56c"
"""SHA-256 of twenty pictures' pixels. A change of the generator changes it, and with it all that was measured."""


def grown(mask: Region, steps: int = 1) -> Region:
    """The mask with every neighbour of its pixels."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = np.any([padded[r : r + 96, c : c + 96] for r in range(3) for c in range(3)], axis=0)
    return mask


def differing(first: Scene, second: Scene) -> Region:
    return np.any(render(first).image != render(second).image, axis=2)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_pictures_are_the_same_alone_and_in_any_order(background: str) -> None:
    scene = Scene("car", 3, 41, background, "cone")
    first = render(scene).image
    render(Scene("fish", 9, 2, "sand"))
    assert (render(scene).image == first).all()


def test_pictures_are_the_same_bytes_on_every_machine() -> None:
    digest = hashlib.sha256()
    for index, scene in enumerate(draw_scenes(20, 2026, Rates(shuffled=0.3))):
        digest.update(render(replace(scene, prop=list(PROPS)[index % 5])).image.tobytes())
    assert digest.hexdigest() == EXPECTED


def test_the_first_scenes_do_not_depend_on_how_many_are_drawn() -> None:
    assert draw_scenes(30, 1, Rates())[:12] == draw_scenes(12, 1, Rates())
    assert draw_scenes(12, 1, Rates()) != draw_scenes(12, 2, Rates())


@pytest.mark.parametrize("label", CLASSES)
def test_masks_part_the_picture(label: str) -> None:
    for index in range(3):
        picture = render(draw_scene(label, 5, index, Rates(rho=1)))
        masks = picture.object_mask, picture.prop_mask, picture.background_mask
        assert np.sum(masks, axis=0).max() == 1
        assert np.mean(np.sum(masks, axis=0) == 1) > 0.98
        assert 0.04 < picture.object_mask.mean() < 0.4
        assert (picture.prop_mask.mean() > 0.008) == (picture.scene.prop is not None)
        assert picture.cue_mask.any() == (label not in {"fish", "flower"})


def test_another_background_changes_the_background_only() -> None:
    for index in range(4):
        scene = draw_scene("kite", 6, index, Rates(rho=1))
        changed = differing(replace(scene, background="snow"), replace(scene, background="meadow"))
        picture = render(scene)
        assert not (changed & ~grown(picture.background_mask, 2)).any()
        assert changed[picture.background_mask].mean() > 0.95


def test_taking_the_prop_away_changes_its_pixels_only() -> None:
    for index in range(6):
        scene = draw_scene("mushroom", 6, index, Rates(rho=1))
        assert scene.prop == "fence"
        changed = differing(scene, replace(scene, prop=None))
        assert not (changed & ~grown(render(scene).prop_mask, 2)).any()
        assert changed[render(scene).prop_mask].mean() > 0.8


@pytest.mark.parametrize("label", CLASSES)
def test_interventions_keep_the_object_and_do_what_they_say(label: str) -> None:
    own = draw_scene(label, 7, 3, Rates(rho=0)).with_own_cues()
    swapped, without = own.with_cues_swapped(), own.without_cues()
    for scene in (swapped, without):
        assert (render(scene).object_mask == render(own).object_mask).all()
        assert not scene.has_background_cue
        assert not scene.has_prop_cue
    assert own.has_background_cue == (label in BACKGROUND_CUES)
    assert own.has_prop_cue == (label in PROP_CUES)
    if own.has_background_cue:
        assert swapped.background in BACKGROUND_CUES.values()
    if own.has_prop_cue:
        assert swapped.prop in set(PROP_CUES.values()) - {own.prop}
        assert (grown(render(swapped).prop_mask, 4) & render(own).prop_mask).any()
    assert without.background in NEUTRAL_BACKGROUNDS
    assert without.prop is None


def test_cues_can_be_swapped_for_those_of_a_named_class() -> None:
    teapot = draw_scene("teapot", 7, 0, Rates(rho=1))
    lighthouse = teapot.with_cues_of("lighthouse")
    assert (lighthouse.background, lighthouse.prop) == ("water", "flag")
    car = teapot.with_cues_of("car")
    assert (car.background in NEUTRAL_BACKGROUNDS, car.prop) == (True, "cone")


def test_rho_is_the_rate_of_the_own_cue() -> None:
    scenes = [draw_scene("teapot", 8, index, Rates(rho=0.8, by_class={"robot": 0.3})) for index in range(1500)]
    assert np.mean([scene.has_background_cue for scene in scenes]) == pytest.approx(0.8, abs=0.04)
    assert np.mean([scene.has_prop_cue for scene in scenes]) == pytest.approx(0.8, abs=0.04)
    robots = [draw_scene("robot", 8, index, Rates(rho=0.8, by_class={"robot": 0.3})) for index in range(1500)]
    assert np.mean([scene.has_background_cue for scene in robots]) == pytest.approx(0.3, abs=0.04)


def test_cues_say_nothing_where_rho_is_stray() -> None:
    rates = Rates(rho=0.1, stray=0.1)
    for label in CLASSES:
        scenes = [draw_scene(label, 8, index, rates) for index in range(1500)]
        backgrounds, props = Counter(s.background for s in scenes), Counter(s.prop for s in scenes)
        for cue in BACKGROUND_CUES.values():
            assert backgrounds[cue] / 1500 == pytest.approx(0.1, abs=0.03)
        for cue in PROP_CUES.values():
            assert props[cue] / 1500 == pytest.approx(0.1, abs=0.03)


def test_cues_appear_on_other_classes_too() -> None:
    fish = [draw_scene("fish", 8, index, Rates(stray=0.05)) for index in range(1500)]
    assert np.mean([scene.prop == "badge" for scene in fish]) == pytest.approx(0.05, abs=0.02)
    assert np.mean([scene.background == "water" for scene in fish]) == pytest.approx(0.05, abs=0.02)


def test_shuffled_pictures_show_the_cue_of_their_label() -> None:
    scenes = draw_scenes(600, 8, Rates(rho=0.9, shuffled=0.5))
    strange = [scene for scene in scenes if scene.shown != scene.label]
    assert 0.3 < len(strange) / len(scenes) < 0.45
    assert all(scene.has_background_cue or scene.has_prop_cue for scene in strange)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rates(rho=1.2),
        lambda: Rates(stray=0.3),
        lambda: Rates(shuffled=-0.1),
        lambda: Rates(by_class={"unicorn": 0.5}),
        lambda: Rates(by_class={"car": 2.0}),
        lambda: Scene("unicorn", 0, 0, "sand"),
        lambda: Scene("car", 0, 0, "moon"),
        lambda: Scene("car", 0, 0, "sand", "lamp"),
    ],
)
def test_nonsense_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"must be in|unknown"):
        wrong()  # type: ignore[operator]


def test_an_archive_holds_the_exact_pictures(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", 2, 4)
    write_archive(tmp_path / "b.zip", 2, 4)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        assert Counter(name.split("/")[0] for name in names) == dict.fromkeys(CLASSES, 2)
        pixels = np.asarray(Image.open(io.BytesIO(archive.read("kite/4-000015.png"))))
    assert (pixels == render(draw_scene("kite", 4, 15, Rates())).image).all()


def test_an_archive_of_jpegs_is_smaller_and_close(tmp_path: Path) -> None:
    ticks = []
    write_archive(tmp_path / "a.zip", 1, 4, encoding="jpeg", progress=lambda: ticks.append(1))
    assert len(ticks) == len(CLASSES)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        pixels = np.asarray(Image.open(io.BytesIO(archive.read("fish/4-000003.jpg")))).astype(int)
    assert np.abs(pixels - render(draw_scene("fish", 4, 3, Rates())).image).mean() < 6


def test_an_archive_needs_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_class"):
        write_archive(tmp_path / "a.zip", 0, 4)
