"""Banks over HTTP: found by name and digest, their classes in pages, their features with exemplars."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image

from models.bank import Bank


def test_the_list_has_every_bank_and_says_what_is_wrong_with_a_damaged_one(http: httpx.Client, tiny_bank: Bank) -> None:
    found = http.get("/v1/banks").json()
    assert found["default"] == "tiny"
    banks = {bank["name"]: bank for bank in found["banks"]}
    assert {"tiny", "other", "broken"} <= set(banks)
    assert banks["tiny"]["digest"] == tiny_bank.digest
    assert banks["tiny"]["classes"] == 5
    assert banks["tiny"]["labelled_classes"] == 4
    assert "damaged" in banks["broken"]["problem"]


def test_a_bank_is_found_by_name_and_by_digest(http: httpx.Client, tiny_bank: Bank) -> None:
    by_name = http.get("/v1/banks/tiny").json()
    assert by_name["architecture"] == "small_resnet"
    assert by_name["input_size"] == 96
    assert by_name["maps"] == [24, 12, 12]
    assert by_name["labeller"] == tiny_bank.manifest.labeller
    assert http.get(f"/v1/banks/{tiny_bank.digest}").json() == by_name


def test_classes_come_in_pages(http: httpx.Client, tiny_bank: Bank) -> None:
    found, cursor = [], None
    for _ in range(10):
        page = http.get("/v1/banks/tiny/classes", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 2
        found += page["items"]
        cursor = page.get("next")
        if cursor is None:
            break
    assert [one["name"] for one in found] == list(tiny_bank.classes)
    assert [one["index"] for one in found] == list(range(5))
    assert [(one["core"], one["spurious"]) for one in found] == [(2, 1), (2, 2), (2, 1), (2, 2), (0, 0)]


def test_classes_without_labels_can_be_left_out(http: httpx.Client) -> None:
    page = http.get("/v1/banks/tiny/classes", params={"labelled": True}).json()
    assert [one["name"] for one in page["items"]] == ["ant", "bee", "cat", "dog"]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 5000}, {"cursor": "x"}])
def test_a_page_that_cannot_be_is_refused(http: httpx.Client, params: dict[str, str]) -> None:
    response = http.get("/v1/banks/tiny/classes", params=params)
    assert response.status_code == 422
    assert response.json()["field"] == next(iter(params))


def test_features_come_by_rank_with_their_exemplars(http: httpx.Client, tiny_bank: Bank) -> None:
    by_name = http.get("/v1/banks/tiny/classes/ant/features").json()
    assert http.get("/v1/banks/tiny/classes/0/features").json() == by_name
    assert by_name["bank"]["digest"] == tiny_bank.digest
    assert [(f["rank"], f["feature"], f["label"]) for f in by_name["features"]] == [
        (1, 0, "core"),
        (2, 1, "core"),
        (3, 2, "spurious"),
    ]
    shown, unshown = by_name["features"][0]["exemplars"]
    assert "picture" not in unshown, "its licence does not let it be passed on"
    response = http.get(shown["picture"])
    assert response.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(response.content)) as exemplar:
        assert exemplar.size == (96, 96)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("none", 404, "unknown-bank"),
        ("sha256:00", 404, "unknown-bank"),
        ("broken", 422, "invalid"),
        ("none/classes", 404, "unknown-bank"),
        ("tiny/classes/unicorn/features", 404, "not-found"),
        ("tiny/classes/5/features", 404, "not-found"),
        ("tiny/classes/ant/features/0/exemplars/1", 404, "not-found"),
        ("tiny/classes/ant/features/0/exemplars/9", 404, "not-found"),
        ("tiny/classes/ant/features/0/exemplars/-1", 422, "invalid"),
        ("tiny/classes/ant/features/x/exemplars/0", 422, "invalid"),
    ],
)
def test_what_is_not_there_is_said_so(http: httpx.Client, path: str, status: int, kind: str) -> None:
    response = http.get(f"/v1/banks/{path}")
    assert response.status_code == status
    assert response.json()["type"] == f"urn:cuecheck:problem:{kind}"
