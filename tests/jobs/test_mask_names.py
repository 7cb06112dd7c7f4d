"""Names in the tree of an export: those of the pictures, and never two alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.mask_names import safe, stem, tree_name


@pytest.mark.parametrize(
    ("sample", "folder", "expected"),
    [
        ("cat/0001.jpg", "cat", "0001"),
        ("train/cat/0001.jpg", "cat", "0001"),
        ("cat/day/0001.jpg", "cat", "day/0001"),
        ("cat/0001.jpg", None, "cat/0001"),
        ("cat/0001.png", "cat", "0001.png"),
        ("cat/0001.JPG", "cat", "0001.JPG"),
        ("cat/0001.png.jpg", "cat", "0001.png.jpg"),
        ("cat/a.b.jpg", "cat", "a.b"),
        ("cat/a:b?.jpg", "cat", "a%3Ab%3F"),
    ],
)
def test_a_mask_is_called_after_its_picture(sample: str, folder: str | None, expected: str) -> None:
    assert stem(sample, ".jpg", folder) == expected


@given(st.sets(st.text("ab%/.", min_size=1, max_size=4), max_size=6), st.sampled_from([".jpg", ".png"]))
def test_no_two_pictures_have_the_same_name(names: set[str], usual: str) -> None:
    clean = {n for n in names if all(part not in ("", ".", "..") for part in n.split("/"))}
    samples = {f"cat/{name}{ending}" for name in clean for ending in ("", ".jpg", ".png", ".png.jpg", ".JPG")}
    samples = {sample for sample in samples if sample.lower().endswith((".jpg", ".png"))}
    assert len({stem(sample, usual, "cat") for sample in samples}) == len(samples)


def test_a_class_cannot_leave_the_tree() -> None:
    assert tree_name("../../etc", 3, "core", "passwd") == "..%2F..%2Fetc/feature_3/passwd.png"
    assert tree_name("..", None, "spurious", "1") == "%2E%2E/spurious/1.png"
    assert safe("a\\b\x00") == "a%5Cb%00"
