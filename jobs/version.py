"""The version of the code that computes figures: equal versions give equal figures for equal inputs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCES = (
    "models/*.py",
    "models/classifiers/*.py",
    "models/published/*.py",
    "models/training/*.py",
    "jobs/*.py",
    "jobs/measurements/*.py",
)


@cache
def code_version() -> str:
    """`<package version>+<12 digits of the sha256 of the sources an audit runs through>`."""
    try:
        release = version("cuecheck")
    except PackageNotFoundError:  # run from a checkout that is not installed
        release = "0"
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for file in sorted(file for pattern in SOURCES for file in root.glob(pattern)):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return f"{release}+{digest.hexdigest()[:12]}"
