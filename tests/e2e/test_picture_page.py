"""The page that reads a picture, in a real browser over the real service."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.e2e.pages import HOSTILE, answer_with, read
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer


def drawn(page: Page) -> str:
    """What the canvas shows."""
    return str(page.evaluate("document.getElementById('canvas').toDataURL()"))


def number(text: str) -> float:
    """A figure as the pages write it."""
    return float(text.replace("\u2212", "-"))


def masks_of(server: RunningServer, file: Path, **fields: str) -> dict[str, Any]:
    """What the service says of a picture to a program."""
    answer = httpx.post(f"{server.url}/v1/masks", files={"pictures": file.open("rb")}, data=fields, timeout=60)
    return dict(answer.raise_for_status().json())


def test_a_picture_is_read_down_to_the_sum_of_its_score(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    read(page, photo)
    expect(page.locator(".prediction")).to_have_text(re.compile(rf"^({'|'.join(CLASSES)}) .*\d %$"))
    expect(page.locator("#caption")).to_have_text("meadow.png, 200 × 120")
    *parts, total = [number(text) for text in page.locator("table.sum td.number").all_inner_texts()]
    assert sum(parts) == pytest.approx(total, abs=0.03)


def test_a_picture_chosen_before_the_classes_have_come_waits_for_them(open_page: OpenPage, photo: Path) -> None:
    page = open_page("about:blank")
    page.route(re.compile("/classes$"), lambda route: (time.sleep(0.5), route.continue_()))
    page.goto("/")
    read(page, photo)
    expect(page.locator(".problem")).to_be_hidden()


def test_the_table_says_what_is_known_of_each_feature(open_page: OpenPage, photo: Path, server: RunningServer) -> None:
    page = open_page("/")
    page.get_by_label("Class", exact=True).select_option(label="bee")
    read(page, photo)
    features = masks_of(server, photo, classes="bee")["pictures"][0]["classes"][0]["features"]
    rows = page.locator("table.features tbody tr")
    expect(rows).to_have_count(len(features))
    for index, feature in enumerate(features):
        text = rows.nth(index).inner_text()
        for shown in (f"#{feature['feature']}", f"rank {feature['rank']}", feature["label"]):
            assert shown in text
        assert feature["kind"].replace("_", " ") in text
        assert ("in range" if feature["valid"] else "below range") in text
        assert f"{feature['activation']:.2f}" in text


def test_the_slider_moves_from_core_to_spurious_by_keyboard(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    page.get_by_label("Class", exact=True).select_option(label="bee")
    read(page, photo)
    slider = page.get_by_role("slider", name="Overlay")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "core 100 %, spurious 0 %")
    core = drawn(page)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "core 0 %, spurious 100 %")
    spurious = drawn(page)
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_value("99")
    page.get_by_label("Show the overlay", exact=True).uncheck()
    assert len({core, spurious, drawn(page)}) == 3


def test_masks_lie_where_the_model_looked(open_page: OpenPage, photo: Path) -> None:
    """Outside the model's crop the overlay only darkens; the same pixel without it is the picture's own."""
    page = open_page("/")
    read(page, photo)
    pixel = "(x) => [...document.getElementById('canvas').getContext('2d').getImageData(x, 200, 1, 1).data]"
    covered = page.evaluate(pixel, 5)
    page.get_by_label("Show the overlay", exact=True).uncheck()
    plain = page.evaluate(pixel, 5)
    assert covered[:3] == pytest.approx([0.55 * level for level in plain[:3]], abs=2)


def test_one_feature_can_be_shown_alone(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    page.get_by_label("Class", exact=True).select_option(label="bee")
    read(page, photo)
    everything = drawn(page)
    first = page.locator("button.feature").first
    first.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#alone")).to_contain_text(first.inner_text())
    assert drawn(page) != everything
    first.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "false")
    assert drawn(page) == everything


def test_another_class_and_another_bank_are_read_at_once(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    read(page, photo)
    page.get_by_label("Class", exact=True).select_option(label="cat")
    expect(page.get_by_role("heading", name="What the score of cat is made of")).to_be_visible()
    with page.expect_response("**/v1/masks") as asked:
        page.get_by_label("Bank", exact=True).select_option("other")
    assert asked.value.json()["bank"]["name"] == "other"
    expect(page.get_by_label("Class", exact=True)).to_have_value("predicted")


def test_a_class_without_labels_says_so(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    page.get_by_label("Class", exact=True).select_option(label="eel (no labelled features)")
    read(page, photo)
    expect(page.locator(".verdict")).to_contain_text("Nobody has labelled features of eel")
    expect(page.locator("table.features")).to_have_count(0)
    expect(page.get_by_role("slider")).to_be_disabled()


def test_an_exemplar_of_the_bank_can_be_tried(open_page: OpenPage) -> None:
    page = open_page("/")
    page.get_by_role("button", name="ant").click()
    expect(page.locator("#caption")).to_contain_text("ant.jpg, 96 × 96")


def test_a_dropped_picture_is_read(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        list(photo.read_bytes()),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#caption")).to_contain_text("dropped.png")


def test_a_bad_file_is_explained_and_the_next_one_works(open_page: OpenPage, photo: Path, tmp_path: Path) -> None:
    page = open_page("/")
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    page.set_input_files("#file", notes)
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The picture cannot be used")
    expect(problem).to_contain_text(re.compile(r"Request [0-9a-f]{16}"))
    read(page, photo)
    expect(problem).to_be_empty()


def test_a_service_that_is_gone_is_noticed(open_page: OpenPage, photo: Path) -> None:
    page = open_page("/")
    expect(page.get_by_label("Bank", exact=True)).to_have_value("tiny")
    page.context.set_offline(True)
    page.set_input_files("#file", photo)
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")


def test_names_are_text_and_never_markup(open_page: OpenPage, server: RunningServer, photo: Path) -> None:
    """What is named like an attack is shown letter by letter; a script that ran would open a dialog."""
    answer = masks_of(server, photo, features="all", classes="bee")
    found = answer["pictures"][0]
    for named in (found, found["prediction"], *found["classes"]):
        named["name"] = HOSTILE
    found["notes"] = [HOSTILE]
    found["classes"][0]["features"][0]["kind"] = HOSTILE
    page = open_page("about:blank")
    answer_with(page, "/v1/banks$", {"default": "tiny", "banks": [{"name": "tiny", "title": HOSTILE}]})
    answer_with(page, "/classes$", {"items": [{"index": 0, "name": HOSTILE, "core": 1, "spurious": 1}]})
    answer_with(page, "/v1/masks$", answer)
    page.goto("/")
    read(page, photo)
    for place in ("#caption", "#bank", "#class", ".prediction", ".verdict", "table.features"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
    assert page.locator("main img[src=x]").count() == 0
