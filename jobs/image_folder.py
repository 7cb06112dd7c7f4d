"""Which class a member of an archive belongs to: ImageFolder layout, one folder per class.

A folder that holds everything (`dataset/dog/1.jpg`, `dataset/cat/2.jpg`) is looked through; the class is the first
folder below it. Deeper folders are part of the sample's name only.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobs.archive_member import Member
from jobs.archives import DUPLICATE, Duplicates

PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)
ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"))
HIDDEN_NAMES = frozenset(("__macosx", "thumbs.db", "desktop.ini"))
HIDDEN, NESTED, NOT_A_PICTURE, NO_CLASS = "hidden_file", "nested_archive", "not_a_picture", "no_class_folder"


class ImageFolder:
    """The layout of one archive, learned in a first pass over its members and applied in a second.

    Attributes:
        classes: Names of the class folders, sorted.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        """First pass. Holds every folder's name and eight bytes per member."""
        self._duplicates = Duplicates()
        folders: set[tuple[str, ...]] = set()
        for member in members:
            if member.problem is None and _unfit(member.parts) is None:
                self._duplicates.collect(member.name)
                folders.add(tuple(member.parts[:-1]))
        self._depth = _class_depth(folders)
        self.classes = sorted({folder[self._depth] for folder in folders if len(folder) > self._depth})
        self._labels = {name: label for label, name in enumerate(self.classes)}

    def place(self, member: Member) -> tuple[int, str | None]:
        """Second pass: the member's label, and the reason why it is left out (the label is -1 then)."""
        parts = member.parts
        if reason := member.problem or _unfit(parts):
            return -1, reason
        if len(parts) - 1 <= self._depth:
            return -1, NO_CLASS
        if self._duplicates.is_repeat(member.name):
            return -1, DUPLICATE
        return self._labels[parts[self._depth]], None


def _unfit(parts: list[str]) -> str | None:
    if any(part.startswith(".") or part.lower() in HIDDEN_NAMES for part in parts):
        return HIDDEN
    _, dot, ending = parts[-1].rpartition(".")
    suffix = dot + ending.lower()
    if suffix in ARCHIVE_SUFFIXES:
        return NESTED
    return None if suffix in PICTURE_SUFFIXES else NOT_A_PICTURE


def _class_depth(folders: set[tuple[str, ...]]) -> int:
    """How many leading folders hold everything; the last of them is the class where all pictures lie right in it."""
    if not folders:
        return 0
    first, last = min(folders), max(folders)
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    all_in_one = all(len(folder) == common for folder in folders)
    return max(0, common - 1) if all_in_one else common
