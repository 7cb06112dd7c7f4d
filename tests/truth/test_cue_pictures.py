"""Pictures with the cue alone have the cue, and not the object."""

from __future__ import annotations

from models.planted.scenes import BACKGROUND_CUES, CLASSES, PROP_CUES
from models.training.reliance import CUED_CLASSES
from tests.truth.cue_pictures import SPURIOUS_ONLY, drawn, spurious_only


def test_every_cue_of_the_class_shows_and_its_object_never() -> None:
    scenes = spurious_only(7)
    assert all(scene.has_background_cue == (scene.label in BACKGROUND_CUES) for scene in scenes)
    assert all(scene.has_prop_cue == (scene.label in PROP_CUES) for scene in scenes)
    for name in CUED_CLASSES:
        shown = [scene.shown for scene in scenes if scene.label == name]
        assert len(shown) == SPURIOUS_ONLY
        assert set(shown) == set(CLASSES) - {name}


def test_drawn_they_bear_the_label_whose_cue_they_show() -> None:
    scenes = spurious_only(7)[:: SPURIOUS_ONLY // 2]
    assert [CLASSES[sample.label] for sample in drawn(scenes)] == [scene.label for scene in scenes]
