"""Names of masks in the folder tree of an export: readable, safe on every file system, and no two alike."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from jobs.image_folder import PICTURE_SUFFIXES

_UNSAFE = re.compile(r'[\x00-\x1f\x7f%\\/:*?"<>|]')


def safe(part: str) -> str:
    """A name as one part of a path: what some file system refuses, and `.` and `..`, as %XX; reversible."""
    if set(part) <= {"."}:
        return "%2E" * len(part)
    return _UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}", part)


def stem(sample: str, usual: str, folder: str | None) -> str:
    """What a mask's file is called after its picture.

    The picture's ending is dropped where it is the data set's usual one and no other hides behind it; any other stays,
    so that `1.jpg` and `1.png` do not fall together.

    Args:
        sample: name of the picture in the data set.
        usual: ending of the data set's first picture, with its dot.
        folder: the picture's class folder, below which the name begins; None for the whole path, where pictures of
            several folders are of one class.
    """
    parts = list(PurePosixPath(sample).parts)
    if folder is not None and folder in parts[:-1]:
        parts = parts[parts.index(folder) + 1 :]
    bare = parts[-1].removesuffix(usual)
    if bare and bare != parts[-1] and PurePosixPath(bare).suffix.lower() not in PICTURE_SUFFIXES:
        parts[-1] = bare
    return "/".join(map(safe, parts))


def tree_name(class_name: str, feature_index: int | None, label: str, own: str) -> str:
    """Path of a mask in the tree: `<class>/feature_<j>/<own>.png`, of a union `<class>/<label>/<own>.png`."""
    return f"{safe(class_name)}/{label if feature_index is None else f'feature_{feature_index}'}/{own}.png"
