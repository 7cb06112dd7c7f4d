"""Where the features of one label lie on the pictures of a batch, and where their area-matched controls lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.measurement import Batch, Changed
from jobs.variants import Seen
from models.bank import Label
from models.controls import control_offsets, roll, shared_fraction
from models.masks import union


@dataclass(frozen=True)
class Region:
    """One mask and its control on each of M pictures of a batch.

    Attributes:
        picture: int64 [M], indices in the batch, on the masks' device.
        tested, control: float [M, s, s] in [0, 1], in the classifier's input pixels; a control has the same values as
            its mask, rolled to where it overlaps least with it and with the core.
        overlap: float32 [M], share of the mask that its control covers too.
    """

    picture: Tensor
    tested: Tensor
    control: Tensor
    overlap: NDArray[np.float32]

    @classmethod
    def of(cls, seen: Seen, label: Label) -> Region:
        """The features of a label, on the pictures on which at least one of them counts."""
        members = getattr(seen, label)
        picture = members.any(dim=1).nonzero()[:, 0]
        return cls.covering(seen, picture, union(seen.masks[picture], members[picture]))

    @classmethod
    def covering(cls, seen: Seen, picture: Tensor, tested: Tensor) -> Region:
        """Masks [M, s, s] of one's own on pictures int64 [M]."""
        core = union(seen.masks[picture], seen.core[picture])
        control = roll(tested, control_offsets(tested, torch.maximum(tested, core)))
        return cls(picture, tested, control, shared_fraction(tested, control).cpu().numpy())

    @property
    def owner(self) -> NDArray[np.int64]:
        """`picture` as NumPy has it."""
        found: NDArray[np.int64] = self.picture.cpu().numpy()
        return found

    def corrupted(self, batch: Batch, variant: str, masks: Tensor) -> Changed:
        """What the request does to masked parts, on masks [M, s, s] of the same pictures."""

        def make(part: slice) -> Tensor:
            owner = self.picture[part]
            return batch.corrupt(batch.pixels[owner], masks[part], batch.draws[owner])

        return Changed(variant, self.owner, make, {"overlap": self.overlap})
