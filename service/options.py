"""The fields of a request for masks, as sent, turned into what the worker computes with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from models.bank import Bank
from service.problems import Problem
from service.schemas import Encoding, MapKind, Size

MAX_CLASSES = 20
"""Most classes explained per picture."""
ALL = "all"


@dataclass(frozen=True)
class MaskOptions:
    """What to compute for each picture of a request.

    Attributes:
        bank: digest of the bank, so that the worker cannot answer with another one of the same name.
        top: how many of the highest logits' classes to explain.
        classes: indices of further classes to explain, whatever the logits.
        features: features that get a mask of their own, or None for all labelled ones; empty for none.
        masks, contributions: which maps to send.
        size: pixels of the maps: the network's input, or the picture itself.
        encoding: how the maps are sent.
        threshold: where masks are cut for `rle`.
        inline: whether maps go into the JSON as base64, rather than beside it as files.
        arrays: names of tensors to answer with instead of a document, see `service.arrays`.
    """

    bank: str
    top: int
    classes: tuple[int, ...]
    features: tuple[int, ...] | None
    masks: bool
    contributions: bool
    size: Size
    encoding: Encoding
    threshold: float
    inline: bool
    arrays: tuple[str, ...] = ()

    def map_bytes(self, pixels: int) -> int:
        """At least how many bytes, before compression, the maps of `pixels` pixels take for all classes."""
        mask = 2 if self.encoding == "npz" else 1
        contribution = 4 if self.encoding == "npz" else 1
        single = 0 if self.features is None else len(self.features)
        per_class = self.masks * (2 + single) * mask + self.contributions * 3 * contribution
        return (self.top + len(self.classes)) * per_class * pixels


def read_options(
    bank: Bank,
    *,
    classes: Sequence[str],
    features: Sequence[str],
    maps: Sequence[str],
    size: Size,
    encoding: Encoding,
    threshold: float,
    inline: bool,
) -> MaskOptions:
    """Check the fields of a request against a bank.

    Args:
        bank: the bank asked for.
        classes: class names, indices, `predicted` or `top<k>`; each entry one of them, or several with commas.
        features: feature indices, or `all`, in the same way.
        maps: of `MapKind`, in the same way.
        size, encoding, threshold: as sent.
        inline: see `MaskOptions`.

    Raises:
        Problem: a value is not one of those possible; it names the field.
    """
    top, indices = _classes(bank, classes)
    kinds = [_map_kind(part) for part in _split(maps)]
    if encoding == "rle" and "contributions" in kinds:
        raise Problem(
            "invalid",
            "Run lengths hold masks cut at a threshold; signed contributions have none.",
            field="encoding",
            remedy="Use png or npz for contributions.",
        )
    if not 0 < threshold <= 1:
        raise Problem("invalid", f"A threshold lies above 0 and at most at 1, not at {threshold}.", field="threshold")
    return MaskOptions(
        bank=bank.digest,
        top=top,
        classes=indices,
        features=_features(bank, features),
        masks="masks" in kinds,
        contributions="contributions" in kinds,
        size=size,
        encoding=encoding,
        threshold=threshold,
        inline=inline,
    )


def _split(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _map_kind(value: str) -> MapKind:
    for kind in get_args(MapKind):
        if value == kind:
            return cast(MapKind, kind)
    raise Problem(
        "invalid", f"maps cannot be {value[:100]!r}.", field="maps", remedy=f"Use {' or '.join(get_args(MapKind))}."
    )


def _classes(bank: Bank, values: Sequence[str]) -> tuple[int, tuple[int, ...]]:
    """How many top classes, and which others. A name may hold commas: a whole entry is tried before its parts."""
    top = 0
    indices: list[int] = []
    for value in values:
        for part in [value] if value in bank.classes else _split([value]):
            if part == "predicted":
                top = max(top, 1)
            elif part.startswith("top") and part[3:].isdecimal():
                top = max(top, int(part[3:]))
            else:
                indices.append(bank.class_index(part))
    if not top and not indices:
        raise Problem(
            "invalid", "No class was named.", field="classes", remedy="Use predicted, top3, names or indices."
        )
    if top + len(indices) > MAX_CLASSES:
        raise Problem(
            "invalid",
            f"{top + len(indices)} classes are more than the {MAX_CLASSES} explained per picture.",
            field="classes",
            remedy="Ask for fewer classes at a time.",
        )
    return min(top, len(bank.classes)), tuple(dict.fromkeys(indices))


def _features(bank: Bank, values: Sequence[str]) -> tuple[int, ...] | None:
    parts = _split(values)
    if ALL in parts:
        return None
    known = {feature.feature_index for feature in bank.manifest.features}
    for part in parts:
        if not part.isdecimal() or int(part) not in known:
            raise Problem(
                "unknown-feature",
                f"Bank {bank.name!r} has no labelled feature {part[:100]!r}.",
                field="features",
                remedy="Use `all`, or indices from the class's list of features.",
            )
    return tuple(int(part) for part in parts)
