"""What an audit can measure, one file each: every module of this package defines `MEASUREMENT`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from jobs.measurement import Measurement


@cache
def measurements() -> Mapping[str, Measurement]:
    """All measurements by name, in alphabetical order."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    found = [module.MEASUREMENT for module in modules]
    return {measurement.name: measurement for measurement in sorted(found, key=lambda own: own.name)}
