"""The pages of drafts in a real browser: what people see of a discovery, class by class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from jobs.store import Store
from service.client import Client
from tests.e2e.conftest import OpenPage
from tests.e2e.pages import HOSTILE, PHONE, answer_with, job_record
from tests.service.conftest import RunningServer
from tests.service.drafts import WIDTH, write_draft
from tests.service.material import archive

JOB = "e1" * 16
CLASSES = ("ant", "bee", HOSTILE, "ant lion", "100 %/#?")

OpenDraft = Callable[..., Page]


@pytest.fixture
def open_draft(open_page: OpenPage, server: RunningServer) -> OpenDraft:
    """Opens the page of a draft with the classes above, whose pictures are named like an attack."""
    write_draft(Store.from_settings(server.settings), JOB, CLASSES, sample=f"{HOSTILE}.jpg")

    def run(rest: str = "", **options: object) -> Page:
        page = open_page(f"/drafts/{JOB}{rest}", **options)
        expect(page.locator(".candidate").first).to_be_visible()
        return page

    return run


def title(page: Page) -> Locator:
    """The name of the class that is shown."""
    return page.locator(".classname")


def discovery(**changes: object) -> dict[str, object]:
    """A discovery as the service lists it."""
    request = {"dataset": "cd" * 32, "encoder": "bank:tiny", "grouping": "label"}
    return job_record(id=JOB, kind="discovery", request=request, **changes)


def test_a_draft_is_opened_from_the_list(open_draft: OpenDraft) -> None:
    page = open_draft()
    page.goto("/drafts")
    item = page.locator(f"li.job[data-job='{JOB}']")
    expect(item).to_contain_text("bank tiny over")
    expect(item.locator(".state")).to_have_text("succeeded")
    item.get_by_role("link", name="Draft").click()
    expect(title(page)).to_have_text("ant")
    expect(page.locator("#about")).to_contain_text("87 %")
    expect(page.locator("#about")).to_contain_text("2 truncated")


def test_a_panel_says_what_it_shows_and_how_it_was_found(open_draft: OpenDraft) -> None:
    page = open_draft("#class=bee")
    expect(title(page)).to_have_text("bee")
    first, second, third = page.locator(".candidate").all()
    for text in (
        "Channel 2",
        "Found by importance",
        "+1.25",
        "Also strong for: ant, ",
        "Picture",
        "Heat map",
        "Attack",
    ):
        expect(first).to_contain_text(text)
    for text in ("Found by failures", "14 pictures whose activation is below 0.75", "errs on 60 %", "0.005"):
        expect(second).to_contain_text(text)
    for text in ("Component 4", "Found by neural PCA", "prototype", "bee: 98 %"):
        expect(third).to_contain_text(text)
    assert third.get_attribute("data-feature") == str(WIDTH + 1)
    for image in page.locator("#shown img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0
        assert "bee" in str(image.get_attribute("alt"))


def test_the_rows_are_named_beside_the_tiles_they_name(open_draft: OpenDraft) -> None:
    """The middle of each name lies in the row of tiles that it stands for; so do the columns' activations."""
    page = open_draft()
    panel = page.locator(".candidate").first.locator(".panel")
    image = panel.locator("img").bounding_box()
    assert image is not None
    for row, name in enumerate(("Picture", "Heat map", "Attack")):
        box = panel.get_by_text(name, exact=True).bounding_box()
        assert box is not None
        assert row == int(3 * (box["y"] + box["height"] / 2 - image["y"]) / image["height"])
    columns = panel.locator(".column")
    expect(columns).to_have_count(3)
    for place, column in enumerate(columns.all()):
        box = column.bounding_box()
        assert box is not None
        assert place == int(3 * (box["x"] + box["width"] / 2 - image["x"]) / image["width"])


def test_the_arrow_keys_turn_to_the_next_class(open_draft: OpenDraft) -> None:
    page = open_draft()
    page.keyboard.press("ArrowLeft")
    expect(title(page)).to_have_text("ant")  # it is the first
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("bee")
    expect(page.locator("#place")).to_have_text("2 of 5")
    expect(page.locator("#news")).to_contain_text("bee, 2 of 5, 3 candidates")
    assert page.url.endswith("#class=bee")
    page.locator("#list a[aria-current]").focus()
    page.keyboard.press("ArrowUp")
    expect(title(page)).to_have_text("ant")
    expect(page.locator("#list a[aria-current]")).to_be_focused()
    page.get_by_label("Search the classes", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("ant")  # there it moves the caret


def test_the_last_class_has_none_after_it_and_the_focus_is_kept(open_draft: OpenDraft) -> None:
    page = open_draft(f"#class={quote('ant lion')}")
    page.get_by_role("button", name="Next").press("Enter")
    expect(title(page)).to_have_text("100 %/#?")
    expect(page.locator("#shown")).to_contain_text("Only 1 channel adds")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    expect(page.get_by_role("button", name="Previous")).to_be_focused()


def test_the_search_narrows_the_list_and_what_the_keys_turn_to(open_draft: OpenDraft) -> None:
    page = open_draft()
    page.get_by_label("Search the classes", exact=True).fill("ANT")
    expect(page.locator("#list a")).to_have_count(2)
    expect(page.locator("#matches")).to_have_text("2 of 5 classes")
    page.get_by_role("button", name="Next").click()
    expect(title(page)).to_have_text("ant lion")


@pytest.mark.parametrize(("hash_", "name"), [("#class=3", "ant lion"), ("#class=100%20%25%2F%23%3F", "100 %/#?")])
def test_an_address_leads_to_a_class(open_draft: OpenDraft, hash_: str, name: str) -> None:
    page = open_draft(hash_)
    expect(title(page)).to_have_text(name)
    page.get_by_role("link", name="bee").click()
    expect(title(page)).to_have_text("bee")
    page.go_back()
    expect(title(page)).to_have_text(name)
    page.evaluate("location.hash = '#main'")  # as the link past the header does
    page.evaluate("location.hash = '#class=%'")
    expect(title(page)).to_have_text(name)


def test_names_are_text_and_never_markup(open_draft: OpenDraft) -> None:
    page = open_draft("#class=2")
    expect(title(page)).to_have_text(HOSTILE)
    for place in ("#list", ".classname", ".sample"):
        expect(page.locator(place).first).to_contain_text(HOSTILE)
    assert page.locator("main img[src=x]").count() == 0


def test_a_discovery_that_runs_is_followed_to_its_draft(open_page: OpenPage, open_draft: OpenDraft) -> None:
    page = open_page("about:blank")
    state = [discovery(state="running", done=5_000)]
    page.route(f"**/v1/discoveries/{JOB}", lambda route: route.fulfill(json=state[0]))
    page.goto(f"/drafts/{JOB}")
    expect(page.locator("#job")).to_contain_text("5,000 of 50,000 pictures")
    state[0] = discovery(state="running", done=50_000, seconds_left=0.0)
    expect(page.locator("#job")).to_contain_text("drawing the panels")
    page.unroute(f"**/v1/discoveries/{JOB}")
    expect(title(page)).to_have_text("ant")
    expect(page.locator("#job")).to_be_hidden()


def test_a_discovery_is_started_on_the_page(open_page: OpenPage, server: RunningServer, tmp_path: Path) -> None:
    """No worker is needed: it waits, or is taken by one that others have started."""
    (tmp_path / "meadow.zip").write_bytes(archive(2, seed=90))
    with Client(server.url) as client:
        dataset = client.upload_dataset(tmp_path / "meadow.zip")
        page = open_page("/drafts")
        page.get_by_text("Start a discovery").click()
        page.get_by_label("Data set", exact=True).select_option(dataset.id)
        page.get_by_label("Encoder", exact=True).select_option("bank:tiny")
        page.get_by_label("A class's group is", exact=True).select_option("label")
        page.get_by_label("Channels per class", exact=True).fill("1")
        page.get_by_role("button", name="Start the discovery").click()
        item = page.locator("li.job").first
        expect(item).to_contain_text("bank tiny over meadow.zip")
        expect(item).to_contain_text("Groups by label")
        job = client.job(str(item.get_attribute("data-job")))
    assert (job.kind, job.request["channels"], job.request["max_pictures"]) == ("discovery", 1, None)


def test_a_draft_that_is_not_there_is_explained(open_page: OpenPage) -> None:
    page = open_page(f"/drafts/{'0' * 32}")
    expect(page.get_by_role("alert")).to_contain_text("There is no job")


def test_jobs_of_every_kind_are_told_apart(open_page: OpenPage) -> None:
    page = open_page("about:blank")
    request = {"dataset": "cd" * 32, "name": "meadow", "route": "linear_head"}
    training = job_record(id="3a" * 16, kind="training", state="succeeded", request=request)
    audit = job_record(id="3b" * 16, state="succeeded")
    answer_with(page, "/v1/jobs$", {"items": [audit, discovery(state="succeeded"), training], "next": None})
    page.goto("/jobs")
    jobs = page.locator("li.job")
    expect(jobs.locator(".kind")).to_have_text(["audit", "discovery", "training"])
    expect(jobs.nth(0).get_by_role("link")).to_have_attribute("href", f"/v1/audits/{'3b' * 16}/report")
    expect(jobs.nth(1).get_by_role("link")).to_have_attribute("href", f"/drafts/{JOB}")
    expect(jobs.nth(2)).to_contain_text("meadow from cdcd")
    expect(jobs.nth(2)).to_contain_text("Route linear head")
    expect(jobs.nth(2).get_by_role("link")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_only_the_panels_scroll_sideways(open_draft: OpenDraft, scheme: str) -> None:
    page = open_draft("#class=bee", viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    region = page.get_by_role("region", name="Panel of component 4")
    assert region.evaluate("region => region.scrollWidth > region.clientWidth")
    region.evaluate("region => { region.scrollLeft = 1000; }")
    name = region.get_by_text("Heat map", exact=True).bounding_box()
    assert name is not None
    assert name["x"] >= 0, "the rows' names stay while the panel scrolls"
    expect(page.locator("#list")).to_be_hidden()
    page.locator("#classes summary").click()
    page.get_by_role("link", name="ant lion").click()
    expect(title(page)).to_have_text("ant lion")
    expect(page.locator("#list")).to_be_hidden()


@pytest.mark.parametrize("path", ["/drafts", f"/drafts/{JOB}"])
def test_every_control_has_a_name_and_shows_the_focus(open_draft: OpenDraft, path: str) -> None:
    page = open_draft()
    page.goto(path)
    if path == "/drafts":
        page.get_by_text("Start a discovery").click()
        expect(page.locator("#discovery:visible, #uploads:visible")).to_have_count(1)
    else:
        expect(page.locator(".candidate").first).to_be_visible()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, a[href], [tabindex='0']")]
            .filter((control) => control.checkVisibility())
            .filter((control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel)
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # once round
        outline, focused = page.evaluate(
            """() => [getComputedStyle(document.activeElement).outlineStyle,
                      document.activeElement.outerHTML.slice(0, 120)]"""
        )
        assert outline != "none", focused
