"""Class-wise neural principal components: found by class, served as further features of a bank.

Source: Neuhaus, Augustin, Boreiko & Hein, Spurious Features Everywhere (ICCV 2023). For a class c with head row W_c and
psi(x) = W_c * phi(x), elementwise, the components are the unit eigenvectors v_l of cov(psi) over the class's pictures,
and a picture's

    alpha_l = <1, v_l> <v_l, psi - mean(psi)>

are its shares of the logit: f_c = sum_l alpha_l + <1, mean(psi)> + b_c. They are linear in phi and in the maps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import BankError, FeaturesError
from models.moments import Moments, Scatter, checked

SMALLEST_EIGENVALUE = 1e-10
"""Of the largest: what varies less than a 100,000th as much as the first component is the rounding of float32."""


@dataclass(frozen=True)
class Components:
    """K components, each of one class c, with `q = <1, v> (v * W_c)` of a unit eigenvector v of cov(W_c * phi).

    Attributes:
        directions: float32 [K, D], q.
        offsets: float32 [K], q . mean(phi) over the class's pictures, so that `alpha = q . phi - offset`.
    """

    directions: Tensor
    offsets: Tensor

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Components:
        """Read them from a safetensors file.

        Raises:
            BankError: it is not such a file, or holds values that are no numbers.
        """
        try:
            tensors = load_file(path)
            found = cls(tensors["directions"].float(), tensors["offsets"].float())
        except (SafetensorError, OSError, KeyError) as error:
            raise BankError(f"the components of a bank cannot be read: {error}", field="bank") from error
        if not all(bool(values.isfinite().all()) for values in (found.directions, found.offsets)):
            raise BankError("the components of a bank hold values that are not finite", field="bank")
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as safetensors."""
        save_file({"directions": self.directions.contiguous(), "offsets": self.offsets.contiguous()}, path)

    def to(self, device: torch.device | str) -> Components:
        """The same on a device."""
        return Components(self.directions.to(device), self.offsets.to(device))

    def alphas(self, phi: Tensor) -> Tensor:
        """float [N, K] of phi, float [N, D]: zero on average over the class's pictures, in logit units."""
        return phi @ self.directions.T - self.offsets

    def maps(self, maps: Tensor) -> Tensor:
        """float [N, K, h, w] of maps, float [N, D, h, w]: their mean over positions is alpha + offset."""
        return torch.einsum("kd,ndhw->nkhw", self.directions, maps)


@dataclass(frozen=True)
class ClassComponents:
    """The neural principal components of one class, on the CPU.

    Of the directions in which the class's pictures do not vary only one bears on the logit, the `remainder`: it is zero
    on those pictures and keeps the sum exact on every other one.

    Attributes:
        eigenvalues: float64 [L], descending, > 0: the variance of psi along each component.
        vectors: float64 [L, D], unit rows v_l, of the sign that makes <1, v_l> positive (alpha does not depend on it).
        remainder: float64 [D], the part of the vector of ones that no component spans.
        mean: float64 [D], of phi over the class's pictures.
        weight: float64 [D], W_c.
        bias: b_c.
    """

    eigenvalues: Tensor
    vectors: Tensor
    remainder: Tensor
    mean: Tensor
    weight: Tensor
    bias: float

    @classmethod
    def of_features(cls, phi: Tensor, weight: Tensor, bias: float) -> ClassComponents:
        """From the features of the class's pictures.

        With fewer pictures than features, the N x N inner products of the pictures have the same eigenvalues as the
        D x D covariance and take a fraction of its time.

        Args:
            phi: float [N, D], N >= 1.
            weight: float [D], the head's row of the class.
            bias: of the class.

        Raises:
            FeaturesError: there is no picture, the shapes do not fit, or a value is no number.
        """
        values = torch.from_numpy(checked(phi.detach().cpu()))
        if len(values) > values.shape[1]:
            return cls.of_scatter(Scatter.of(values), weight, bias)
        row = _checked_row(weight, values.shape[1], len(values))
        mean = torch.from_numpy(Moments.of(values).mean)
        centred = (values - mean) * row
        squares, left = torch.linalg.eigh(centred @ centred.T)
        kept = _largest_first(squares)
        vectors = (left[:, kept].T @ centred) / squares[kept, None].sqrt()
        return cls._of(squares[kept] / max(len(values) - 1, 1), vectors, mean, row, bias)

    @classmethod
    def of_scatter(cls, scatter: Scatter, weight: Tensor, bias: float) -> ClassComponents:
        """From the mean and scatter matrix of phi over the class's pictures.

        Args:
            scatter: of at least one picture.
            weight, bias: as in `of_features`.

        Raises:
            FeaturesError: as `of_features`.
        """
        row = _checked_row(weight, scatter.mean.size, scatter.count)
        products = torch.from_numpy(scatter.products)
        active = ((products.diagonal() > 0) & (row != 0)).nonzero()[:, 0]
        own = products[active][:, active] * row[active] * row[active, None] / max(scatter.count - 1, 1)
        squares, found = torch.linalg.eigh(own)
        kept = _largest_first(squares)
        vectors = torch.zeros(len(kept), len(row), dtype=torch.float64)
        vectors[:, active] = found[:, kept].T
        return cls._of(squares[kept], vectors, torch.from_numpy(scatter.mean), row, bias)

    @classmethod
    def _of(cls, eigenvalues: Tensor, vectors: Tensor, mean: Tensor, weight: Tensor, bias: float) -> ClassComponents:
        sums = vectors.sum(dim=1)
        upright = vectors * torch.where(sums < 0, -1.0, 1.0)[:, None]
        return cls(eigenvalues, upright, 1 - sums @ vectors, mean, weight, float(bias))

    def __len__(self) -> int:
        return len(self.eigenvalues)

    @property
    def constant(self) -> float:
        """<1, mean(psi)> + b_c: the class's mean logit over its pictures."""
        return float(self.weight @ self.mean) + self.bias

    def alphas(self, phi: Tensor) -> Tensor:
        """float64 [N, L] of phi, float [N, D], in logit units; their mean over the class's pictures is zero."""
        return (self._centred(phi) @ self.vectors.T) * self.vectors.sum(dim=1)

    def remainders(self, phi: Tensor) -> Tensor:
        """float64 [N]: what pictures unlike all of the class add beyond the components; zero on the class's own."""
        return self._centred(phi) @ self.remainder

    def as_components(self, selected: Sequence[int]) -> Components:
        """Some of them, by their place by eigenvalue from 0, as features of a bank."""
        vectors = self.vectors[list(selected)]
        directions = vectors.sum(dim=1)[:, None] * vectors * self.weight
        return Components(directions.float(), (directions @ self.mean).float())

    def _centred(self, phi: Tensor) -> Tensor:
        return (phi.cpu().double() - self.mean) * self.weight


def _checked_row(weight: Tensor, width: int, count: int) -> Tensor:
    row = weight.detach().cpu().double()
    if not count:
        raise FeaturesError("no picture is in the class's group, so it has no components", field="pictures")
    if row.shape != (width,):
        raise FeaturesError(f"a head row of shape {tuple(row.shape)} does not go with {width} features", field="weight")
    if not bool(row.isfinite().all()):
        raise FeaturesError("the head's row holds values that are not finite", field="weight")
    return row


def _largest_first(eigenvalues: Tensor) -> Tensor:
    """Places of the eigenvalues (ascending) that are not rounding, descending."""
    if not len(eigenvalues) or eigenvalues[-1] <= 0:
        return torch.zeros(0, dtype=torch.int64)
    return (eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[-1]).nonzero()[:, 0].flip(0)
