"""A scripted annotator: looks at the pictures and heat maps that an invited person is shown, and answers the questions.

It asks `/v1/label` for what the page asks for, through an invitation, and nothing else. What it knows besides is how
things look (`tests.truth.looks`) and what the class is called.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from jobs.annotation_validation import GROUPS
from models.agreement import PLACES, Place
from models.planted.painter import SIZE
from service.annotation_client import LabelClient
from service.labelling import LabelPanel
from tests.truth.looks import Recognised, looks

RED = 0.7
"""Heat from which a place looks orange to red."""

SHADES = 64
"""Of the colour scale that are told apart."""

Sheet = NDArray[np.uint8]
"""A sprite of square tiles, uint8 [rows * side, columns * side, 3]."""


@dataclass(frozen=True)
class Seen:
    """What the red places of one picture lie on most. where: None where nothing is red; on: what it is, in a word."""

    where: Place | None
    on: str = "nothing"


def look(picture: Sheet, heat_map: Sheet, class_name: str) -> Seen:
    """Look at one picture and its heat map, tiles of any size."""
    plain = _resized(picture)
    return judge(looks().recognise(plain), heat(plain, _resized(heat_map)), class_name)


def judge(shown: Recognised, warmth: NDArray[np.float32], class_name: str) -> Seen:
    """Where most of the red lies.

    Args:
        shown: what the picture shows. An object that is not the class's is a separate object.
        warmth: float [96, 96] in [0, 1].
        class_name: of the panel.
    """
    red = np.where(warmth >= RED, warmth, 0)
    if not red.any():
        return Seen(None)
    on_thing, on_prop = (float(red[region].sum()) for region in (shown.thing_region, shown.prop_region))
    on_ground = float(red.sum()) - on_thing - on_prop
    if on_thing >= max(on_prop, on_ground):
        return Seen("main_object" if shown.thing == class_name else "separate_object", shown.thing)
    return Seen("separate_object", shown.prop or "") if on_prop >= on_ground else Seen("background", shown.ground)


def heat(picture: Sheet, heat_map: Sheet) -> NDArray[np.float32]:
    """The warmth float [h, w] in [0, 1] that is read off a heat map, by the colour scale laid half over the picture."""
    colours = 2 * torch.from_numpy(heat_map.astype(np.float32)) - torch.from_numpy(picture.astype(np.float32))
    nearest = torch.cdist(colours.reshape(-1, 3), _scale()).argmin(dim=1)
    warmth: NDArray[np.float32] = (nearest.float() / (SHADES - 1)).reshape(picture.shape[:2]).numpy()
    return warmth


def conclude(seen: Sequence[Seen]) -> tuple[Place, int, str]:
    """Answer the three questions about a panel: where, how sure (1 to 5), and why.

    Most pictures decide; where two places are as frequent, the one that comes first in `PLACES`.
    """
    counts = Counter(one.where for one in seen)
    place = max(PLACES, key=lambda one: counts[one])
    words = Counter(one.on for one in seen if one.where == place).most_common(1)
    on = words[0][0] if words else "nothing that I can tell"
    reason = f"The red places lie on the {on} in {counts[place]} of {len(seen)} pictures."
    return place, max(1, round(5 * counts[place] / len(seen))), reason


def compare(groups: Sequence[Sequence[Seen]]) -> tuple[bool, list[int]]:
    """Answer the second round: whether all groups show the same, and which pictures, counted through, do not."""
    seen = [one for group in groups for one in group]
    place = conclude(seen)[0]
    same = all(conclude(group)[0] == place for group in groups)
    return same, [number for number, one in enumerate(seen) if one.where != place]


class Person:
    """An invited annotator. label: the client's calls with an invitation's token."""

    def __init__(self, label: LabelClient) -> None:
        self._label = label

    def label_all(self) -> int:
        """Answer every panel that is owed; how many those were."""
        answered = 0
        while (panel := self._label.next()) is not None:
            seen = self._sheet(panel, panel.panel_href, panel.columns - panel.prototype)
            self._label.answer(panel.panel, *conclude(seen))
            answered += 1
        return answered

    def validate_all(self) -> int:
        """Answer every row of the second round; how many those were."""
        answered = 0
        while (panel := self._label.next()) is not None:
            assert panel.groups is not None
            assert panel.pictures is not None
            groups = [self._sheet(panel, panel.groups[name], panel.pictures) for name in GROUPS]
            self._label.validate(panel.panel, *compare(groups))
            answered += 1
        return answered

    def _sheet(self, panel: LabelPanel, href: str, pictures: int) -> list[Seen]:
        """Look at the pictures of a sheet whose first two rows are pictures and heat maps."""
        with Image.open(io.BytesIO(self._label.picture(href))) as opened:
            sheet = np.asarray(opened.convert("RGB"))
        side = sheet.shape[1] // (pictures + panel.prototype * (panel.groups is None))
        columns = [sheet[:, place * side : (place + 1) * side] for place in range(pictures)]
        return [
            look(column[:side], column[side : 2 * side], panel.class_.name)
            for column in columns
            if not _is_blank(column[:side])
        ]


def _is_blank(tile: Sheet) -> bool:
    return float(tile.mean()) > 250


def _resized(tile: Sheet) -> Sheet:
    return np.asarray(Image.fromarray(tile).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


@cache
def _scale() -> torch.Tensor:
    """The colours of the heat maps' scale, float32 [SHADES, 3] in 0 to 255, from cold to warm."""
    return torch.from_numpy(255 * colormaps["jet"](np.linspace(0, 1, SHADES))[:, :3]).float()
