"""The errors of the computing room, told apart by which input has to change."""

from __future__ import annotations


class ModelsError(Exception):
    """An input that cannot be computed with.

    Attributes:
        field: the name of the input at fault, or None where the message names it.
        remedy: what the caller can do about it, or None.
    """

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


class ArchitectureError(ModelsError):
    """A network that is not known by this name or cannot be built with these arguments."""


class BackboneError(ModelsError):
    """Weights, device, precision or runtime that do not make a working backbone."""


class DeviceError(ModelsError):
    """The device asked for is not to be had: nothing falls back to another one in silence."""


class BankError(ModelsError):
    """A feature bank that is damaged, foreign or does not fit its weights."""


class UnknownClassError(ModelsError):
    """A class name or index that the bank does not have."""


class ClassifierError(ModelsError):
    """A classifier file or its declaration that cannot be audited."""


class LabelsError(ModelsError):
    """A file of released labels that is damaged or not of the stated layout."""


class CheckpointError(ModelsError):
    """A weights file that is damaged, hostile, or holds no network whose features could be looked at."""


class FeaturesError(ModelsError):
    """Features or pictures that nothing can be computed from: not finite, none at all, or of another shape."""


class TrainingError(ModelsError):
    """A training that cannot be carried out as planned, or a checkpoint that is not of its plan."""
