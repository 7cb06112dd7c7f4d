"""The scripted annotator sees what is drawn: on pictures and heat maps as the panels show them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.panels import heat_tiles, sprite, tiles
from models.planted.rendering import Picture, render
from models.planted.scenes import Scene
from service.labelling import LabelClass, LabelPanel
from tests.truth.person import Person, Seen, compare, conclude, heat, look

TILE = 160
KITE = render(Scene("kite", 5, 1, "sand", "badge"))


def sheet(pictures: list[Picture], regions: list[np.ndarray]) -> bytes:
    """A panel as discovery draws it, red on these regions; its last row is no attack but the pictures again."""
    shown = torch.stack([torch.from_numpy(one.image.transpose(2, 0, 1).copy()) for one in pictures]).float() / 255
    maps = torch.from_numpy(np.stack(regions)).float()
    return sprite([tiles(shown, TILE), heat_tiles(shown, maps, TILE), tiles(shown, TILE)], len(pictures))


def opened(content: bytes) -> np.ndarray:
    """The pixels of a sheet."""
    return np.asarray(Image.open(BytesIO(content)))


@pytest.mark.parametrize(
    ("region", "class_name", "expected"),
    [
        ("object_mask", "kite", Seen("main_object", "kite")),
        ("object_mask", "beetle", Seen("separate_object", "kite")),
        ("prop_mask", "kite", Seen("separate_object", "badge")),
        ("background_mask", "kite", Seen("background", "sand")),
    ],
)
def test_it_tells_what_the_red_lies_on(region: str, class_name: str, expected: Seen) -> None:
    drawn = opened(sheet([KITE], [getattr(KITE, region)]))
    assert look(drawn[:TILE], drawn[TILE : 2 * TILE], class_name) == expected


def test_nothing_red_is_nothing_seen() -> None:
    drawn = opened(sheet([KITE], [np.zeros_like(KITE.object_mask)]))
    assert look(drawn[:TILE], drawn[TILE : 2 * TILE], "kite") == Seen(None)


def test_warmth_is_read_off_the_colours() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 96), (96, 96))
    drawn = opened(sheet([KITE], [ramp]))
    assert abs(heat(drawn[:TILE], drawn[TILE : 2 * TILE]) - np.linspace(0, 1, TILE)).mean() < 0.03


def test_most_pictures_decide_and_say_how_sure_and_why() -> None:
    kite, sand = Seen("main_object", "kite"), Seen("background", "sand")
    words = "The red places lie on the sand in 4 of 5 pictures."
    assert conclude([kite, sand, sand, sand, sand]) == ("background", 4, words)
    assert conclude([Seen(None)] * 5)[1] == 1
    assert compare([[kite] * 5, [kite] * 4 + [sand], [kite] * 5]) == (True, [9])
    assert compare([[kite] * 5, [kite] * 5, [sand] * 5]) == (False, [10, 11, 12, 13, 14])


def test_it_answers_a_panel_from_nothing_but_its_picture() -> None:
    """Where the sheet has an empty column, that is no picture; a prototype is not looked at."""
    drawn = opened(sheet([KITE, KITE], [KITE.prop_mask, KITE.prop_mask])).copy()
    blank = np.full((3 * TILE, TILE, 3), 255, dtype=np.uint8)
    link = Link(np.concatenate([drawn, blank, drawn[:, :TILE]], axis=1))
    assert Person(link).label_all() == 1  # type: ignore[arg-type]
    assert link.asked == ["/v1/label/pictures/panels/4-7.jpg"]
    assert link.answers == [("4-7", "separate_object", 5, "The red places lie on the badge in 2 of 2 pictures.")]


class Link:
    """What an invitation opens, with one panel left."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.asked: list[str] = []
        self.answers: list[tuple[object, ...]] = []

    def next(self) -> LabelPanel | None:
        about = LabelClass(name="kite", description="", index=4)
        panel = LabelPanel(
            panel="4-7", stage="labels", **{"class": about}, feature_index=7, rank=1,
            panel_href="/v1/label/pictures/panels/4-7.jpg", tile=TILE, columns=4, prototype=True, place=1, of=1,
        )  # fmt: skip
        return None if self.answers else panel

    def picture(self, href: str) -> bytes:
        self.asked.append(href)
        stream = BytesIO()
        Image.fromarray(self._pixels).save(stream, "JPEG", quality=90)
        return stream.getvalue()

    def answer(self, *said: object) -> None:
        self.answers.append(said)
