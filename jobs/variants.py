"""The corrupted variants of a batch of pictures: which masks are tested, where their controls lie.

A feature counts on a picture where its activation lies in the range validated for the class; the mask of a set (core
or spurious) is the pixelwise maximum over those of its features that count there, and a picture enters the figures of
a set where at least one does (Salient ImageNet took the pictures listed for each feature in the same way).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from jobs import rows
from models.backbone import Features
from models.controls import control_offsets, roll, shared_fraction
from models.geometry import Placement, carry
from models.masks import Selection, nams, union


@dataclass(frozen=True)
class Uses:
    """What the rows of N pictures take from where: int64 arrays of equal length, by picture, variant and feature.

    Attributes:
        picture: index in the batch.
        variant: index in `rows.VARIANTS`.
        place: of the feature in the picture's list, -1 for sets.
        source: index of the variant that answers the row, -1 for the clean picture; swapped pictures follow the V
            corrupted ones, first all with features of their own class, then all with those of another.
    """

    picture: np.ndarray
    variant: np.ndarray
    place: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Seen:
    """Where the labelled features of N pictures lie, at most K of each.

    Attributes:
        selection: the labelled features of each picture's class.
        masks: float [N, K, s, s] in [0, 1], in the classifier's input pixels.
        spurious, core: bool [N, K], the features so labelled that count on the picture.
    """

    selection: Selection
    masks: Tensor
    spurious: Tensor
    core: Tensor

    @classmethod
    def of(
        cls, features: Features, selection: Selection, sources: Sequence[Placement], targets: Sequence[Placement]
    ) -> Seen:
        """What one forward of the backbone shows.

        Args:
            features: of N pictures.
            selection: the labelled features of each picture's class.
            sources: where the backbone's input lies on each picture.
            targets: where the classifier's input lies on it.
        """
        counting = selection.valid(features.phi) & (selection.gather(features.phi) > 0)
        masks = carry(nams(selection.gather(features.maps)), sources, targets)
        return cls(selection, masks, counting & selection.spurious, counting & selection.core)


@dataclass(frozen=True)
class Variants:
    """All V corrupted variants of N pictures, each there once however many figures use it.

    Attributes:
        masks: float [V, s, s] in [0, 1], what the corruption covers, in the classifier's input pixels.
        picture: int64 [V], the picture each belongs to.
        overlap: float32 [V + 2 S], share of the tested mask that its control covers too; NaN for noise outside the core
            and for the S pictures whose features are swapped.
        uses: the rows they answer.
    """

    masks: Tensor
    picture: Tensor
    overlap: np.ndarray
    uses: Uses


def variants_of(seen: Seen, swapped: Sequence[int], noise: bool = True) -> Variants:
    """Masks, controls and their uses.

    Args:
        seen: what the backbone sees of N pictures.
        swapped: the S pictures whose spurious features are swapped, by their index.
        noise: whether features are corrupted; without it V is 0.
    """
    spurious, core, masks = seen.spurious & noise, seen.core & noise, seen.masks
    core_mask = union(masks, core)

    picture, place = (spurious | core).nonzero(as_tuple=True)
    several_spurious = (spurious.sum(dim=1) > 1).nonzero()[:, 0]
    several_core = (core.sum(dim=1) > 1).nonzero()[:, 0]
    tested = torch.cat([masks[picture, place], union(masks, spurious)[several_spurious], core_mask[several_core]])
    owner = torch.cat([picture, several_spurious, several_core])
    controls = roll(tested, control_offsets(tested, torch.maximum(tested, core_mask[owner])))
    overlap = shared_fraction(tested, controls).cpu().numpy()
    with_core = core.any(dim=1).nonzero()[:, 0]

    return Variants(
        masks=torch.cat([tested, controls, 1 - core_mask[with_core]]),
        picture=torch.cat([owner, owner, with_core]),
        overlap=np.concatenate([overlap, overlap, np.full(len(with_core) + 2 * len(swapped), np.nan, np.float32)]),
        uses=_uses(spurious.cpu().numpy(), core.cpu().numpy(), np.array(swapped, dtype=np.int64)),
    )


def _uses(spurious: np.ndarray, core: np.ndarray, swapped: np.ndarray) -> Uses:
    """Which row takes which variant, in the order `variants_of` puts them in; bool [N, K] twice, int64 [S]."""
    picture, place = (spurious | core).nonzero()
    single = np.full(core.shape, -1)
    single[picture, place] = np.arange(picture.size)
    tested = picture.size

    def source_of_set(members: np.ndarray) -> np.ndarray:
        """int64 [N]: the mask of the only member that counts, or the set's own where there are more; -1 for none."""
        nonlocal tested
        source = np.where(members, single, -1).max(axis=1, initial=-1)
        several = members.sum(axis=1) > 1
        source[several] = tested + np.arange(several.sum())
        tested += int(several.sum())
        return source

    of_spurious, of_core = source_of_set(spurious), source_of_set(core)
    with_spurious, with_core = np.flatnonzero(of_spurious >= 0), np.flatnonzero(of_core >= 0)
    of_spurious, of_core = of_spurious[with_spurious], of_core[with_core]
    outside = 2 * tested + np.arange(with_core.size)
    same = 2 * tested + with_core.size + np.arange(swapped.size)

    table = np.concatenate(
        [
            _entries(np.arange(len(core)), rows.CLEAN, -1, -1),
            _entries(with_spurious, rows.SPURIOUS, -1, of_spurious),
            _entries(with_spurious, rows.SPURIOUS_CONTROL, -1, of_spurious + tested),
            _entries(with_core, rows.CORE, -1, of_core),
            _entries(with_core, rows.CORE_CONTROL, -1, of_core + tested),
            _entries(with_core, rows.OUTSIDE_CORE, -1, outside),
            _entries(swapped, rows.SWAP_SAME, -1, same),
            _entries(swapped, rows.SWAP_OTHER, -1, same + swapped.size),
            _entries(picture, rows.FEATURE, place, single[picture, place]),
            _entries(picture, rows.FEATURE_CONTROL, place, single[picture, place] + tested),
        ],
        axis=1,
    )
    return Uses(*table[:, np.lexsort(table[2::-1])])


def _entries(picture: np.ndarray, variant: str, place: ArrayLike, source: ArrayLike) -> np.ndarray:
    """int64 [4, r], the columns of `Uses`."""
    return np.stack(np.broadcast_arrays(picture, rows.VARIANTS.index(variant), place, source))
