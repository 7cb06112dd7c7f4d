"""What a planted picture shows, and how scenes are drawn by chance and changed on purpose.

The five cue backgrounds and five props below belong to one class each. ``Rates`` says how strongly: with
``rho == stray`` a cue is as frequent on every class, so that it says nothing; with ``rho == 1`` it is always there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from models.planted.backgrounds import BACKGROUNDS
from models.planted.objects import OBJECTS
from models.planted.props import PROPS
from models.planted.randomness import Randomness

CLASSES: tuple[str, ...] = tuple(sorted(OBJECTS))
"""Class names; the index is the class index."""

BACKGROUND_CUES: Mapping[str, str] = {
    "balloon": "night",
    "beetle": "meadow",
    "lighthouse": "water",
    "robot": "checker",
    "teapot": "wood",
}
"""The background that goes with a class."""

PROP_CUES: Mapping[str, str] = {
    "car": "cone",
    "kite": "badge",
    "lighthouse": "flag",
    "mushroom": "fence",
    "teapot": "tag",
}
"""The separate object that goes with a class. Lighthouses and teapots have both kinds of cue, fish and flowers none."""

NEUTRAL_BACKGROUNDS: tuple[str, ...] = tuple(sorted(BACKGROUNDS.keys() - set(BACKGROUND_CUES.values())))


@dataclass(frozen=True)
class Rates:
    """How often cues are shown.

    rho: probability in [0, 1] that a picture of a class shows the class's own cue (of each kind that it has).
    stray: probability that a picture shows one given cue of another class, at most 0.2; where the class has a cue of
        its own that rate falls linearly to 0 as ``rho`` goes to 1, so that ``rho == stray`` is exact independence.
    by_class: ``rho`` of single classes, where it differs.
    shuffled: probability that a picture showing an own cue shows the object of a random class, so that only the cue
        tells the label.
    """

    rho: float = 0.85
    stray: float = 0.05
    by_class: Mapping[str, float] = field(default_factory=dict)
    shuffled: float = 0.0

    def __post_init__(self) -> None:
        for name, value, most in (("stray", self.stray, 0.2), ("shuffled", self.shuffled, 1.0)):
            if not 0 <= value <= most:
                raise ValueError(f"{name} must be in [0, {most}], not {value}")
        for name, value in {"rho": self.rho, **self.by_class}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {value}")
        if unknown := self.by_class.keys() - set(CLASSES):
            raise ValueError(f"unknown classes {sorted(unknown)}; known are {', '.join(CLASSES)}")


@dataclass(frozen=True)
class Scene:
    """One picture's content. Everything not named here follows from ``seed`` and ``index``.

    label: the class name, whose cues count as this picture's cues; shown: the object drawn, mostly the same.
    background: a key of BACKGROUNDS; prop: a key of PROPS, or None.
    """

    label: str
    seed: int
    index: int
    background: str
    prop: str | None = None
    shown: str = ""

    def __post_init__(self) -> None:
        if not self.shown:
            object.__setattr__(self, "shown", self.label)
        for kind, name, known in (("class", self.label, OBJECTS), ("object", self.shown, OBJECTS)):
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r}; known are {', '.join(sorted(known))}")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"unknown background {self.background!r}; known are {', '.join(BACKGROUNDS)}")
        if self.prop is not None and self.prop not in PROPS:
            raise ValueError(f"unknown prop {self.prop!r}; known are {', '.join(PROPS)}")

    @property
    def has_background_cue(self) -> bool:
        """Whether the background is the cue of the label."""
        return BACKGROUND_CUES.get(self.label) == self.background

    @property
    def has_prop_cue(self) -> bool:
        """Whether the prop is the cue of the label."""
        return self.prop is not None and PROP_CUES.get(self.label) == self.prop

    def with_own_cues(self) -> Scene:
        """The same scene with every cue that the label has."""
        background = BACKGROUND_CUES.get(self.label, self.background)
        return replace(self, background=background, prop=PROP_CUES.get(self.label, self.prop))

    def without_cues(self) -> Scene:
        """The same scene without any class's cue: a neutral background, chosen by chance, and no prop."""
        return replace(self, background=self._stream("neutral").pick(NEUTRAL_BACKGROUNDS), prop=None)

    def with_cues_of(self, other: str) -> Scene:
        """The same scene with each cue of the label swapped for one of another class, of the same kind.

        A cue of a kind that the other class has not is taken away: the background becomes a neutral one, the prop
        goes. What is not a cue of the label stays as it is.
        """
        background, prop = self.background, self.prop
        if self.has_background_cue:
            background = BACKGROUND_CUES.get(other) or self._stream("neutral").pick(NEUTRAL_BACKGROUNDS)
        if self.has_prop_cue:
            prop = PROP_CUES.get(other)
        return replace(self, background=background, prop=prop)

    def with_cues_swapped(self) -> Scene:
        """The same scene with each cue of the label swapped for that of some other class, chosen by chance."""
        stream = self._stream("swap")
        background, prop = self.background, self.prop
        foreign_background = stream.pick([name for name in BACKGROUND_CUES.values() if name != background])
        foreign_prop = stream.pick([name for name in PROP_CUES.values() if name != prop])
        if self.has_background_cue:
            background = foreign_background
        if self.has_prop_cue:
            prop = foreign_prop
        return replace(self, background=background, prop=prop)

    def _stream(self, name: str) -> Randomness:
        return Randomness(self.seed, self.index, name)


def draw_scene(label: str, seed: int, index: int, rates: Rates) -> Scene:
    """The scene of this class, seed and index, its cues drawn at these rates."""
    randomness = Randomness(seed, index, "cues", label)
    rho = rates.by_class.get(label, rates.rho)
    background = _draw_cue(BACKGROUND_CUES, label, rho, rates.stray, randomness)
    prop = _draw_cue(PROP_CUES, label, rho, rates.stray, randomness)
    scene = Scene(label, seed, index, background or randomness.pick(NEUTRAL_BACKGROUNDS), prop)
    if (scene.has_background_cue or scene.has_prop_cue) and randomness.chance(rates.shuffled):
        return replace(scene, shown=randomness.pick(CLASSES))
    return scene


def draw_scenes(count: int, seed: int, rates: Rates) -> list[Scene]:
    """``count`` scenes, classes in turn. The first n scenes are the same for every count."""
    return [draw_scene(CLASSES[index % len(CLASSES)], seed, index, rates) for index in range(count)]


def _draw_cue(cues: Mapping[str, str], label: str, rho: float, stray: float, randomness: Randomness) -> str | None:
    own = cues.get(label)
    foreign = [cue for cue in cues.values() if cue != own]
    chosen, place = randomness.uniform(), randomness.uniform()
    if own is not None and chosen < rho:
        return own
    rate = stray / (1 - stray) if own is not None else stray
    position = int(place / rate) if rate > 0 else len(foreign)
    return foreign[position] if position < len(foreign) else None
