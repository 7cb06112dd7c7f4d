"""The report's page in a real browser, from a file: tables, plots and downloads, whatever the names in it hold."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from jobs.report_page import render_html
from tests.jobs.large_report import SHAPES, large_report

HOSTILE = "</script><script>alert(1)</script>"
FORMULA = '=1+"2"'
NAMES = (HOSTILE, FORMULA, "<img src=x onerror=alert(1)>", *(f"class {i}" for i in range(117)))
PHONE = {"width": 390, "height": 844}
WANTED = ("natural-pictures", "class-leaks", "artefacts")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 120 classes, of which some have names that would run if they were not escaped."""
    shapes = [shape for shape in SHAPES if shape.name in WANTED]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(large_report(NAMES, 2, HOSTILE, shapes), [], []), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """It opened; the test fails if it complains, opens a dialog or asks for anything but itself."""
    complaints: list[str] = []
    context = browser.new_context()
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    opened.on("console", lambda line: complaints.append(line.text))
    opened.on(
        "request", lambda sent: sent.url.startswith((file.as_uri(), "data:", "blob:")) or complaints.append(sent.url)
    )
    opened.goto(file.as_uri())
    yield opened
    context.close()
    assert complaints == []


def downloaded(page: Page, selector: str) -> list[list[str]]:
    with page.expect_download() as waiting:
        page.locator(selector).first.click()
    with Path(waiting.value.path()).open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def texts(rows: Locator) -> list[str]:
    """What rows say, without the white space between and within their cells."""
    return ["".join(text.split()) for text in rows.all_text_contents()]


def test_classes_are_sorted_filtered_turned_and_opened(page: Page) -> None:
    rows = page.locator("[data-classes] > .scroll > table > tbody > tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Sort by Swap gap").click()
    page.get_by_role("button", name="Sort by Swap gap").click()
    expect(page.locator("[data-classes] [data-sort=gap]")).to_have_attribute("aria-sort", "descending")
    gaps = [
        float(text.split()[0].replace("\u2212", "-"))
        for text in rows.locator("td:nth-child(4) strong").all_inner_texts()
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > gaps[-1]
    page.locator("[data-classes] .pager").get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(len(NAMES))
    page.locator("[data-classes] [name=class]").fill("</SCRIPT>")
    expect(rows).to_have_count(1)
    expect(page.locator("[data-classes] .count")).to_have_text("1 of 120")
    rows.get_by_role("button", name=HOSTILE).press("Enter")
    details = page.locator("tr.own")
    for shown in ("Swap gap", "Relative core sensitivity", "Features", "Natural pictures", "Artefacts"):
        expect(details).to_contain_text(shown)
    expect(page.locator("figure[data-series] .chosen polyline")).to_have_count(1)
    rows.get_by_role("button", name=HOSTILE).press("Enter")
    expect(details).to_have_count(0)
    head, *lines = downloaded(page, "[data-classes] .download")
    assert head[:2] == ["class", "verdict"]
    assert len(set(head)) == len(head)
    assert {"swap_gap", "core_control_difference_low", "spurious_control_difference_low"} <= set(head)
    assert [line[0] for line in lines] == [HOSTILE]


def test_the_figures_of_a_section_are_sorted_filtered_and_downloaded(page: Page) -> None:
    table = page.locator("[data-section=artefacts]")
    rows = table.locator("tbody tr")
    written = texts(rows)
    table.get_by_role("button", name="Next").click()
    expect(table.locator(".pager")).to_contain_text("26 to 50")
    table.get_by_role("button", name="Previous").click()
    assert texts(rows) == written  # the rows of the script are those that stood in the page
    table.locator("[name=part]").select_option(label="stripe")
    table.locator("[name=metric]").select_option(index=2)
    table.locator("[name=class]").fill(FORMULA)
    expect(rows).to_have_count(1)
    head, line = downloaded(page, "[data-section=artefacts] .download")
    found = dict(zip(head, line, strict=True))
    assert (found["class"], found["part"], found["metric"]) == (f"'{FORMULA}", "stripe", "figure_1")
    value = rows.locator("strong")
    assert value.count() == 0 or f"{100 * float(found['value']):.1f} %" == value.inner_text()
    table.locator("[name=class]").fill("")
    table.locator("[name=metric]").select_option(value="")
    table.get_by_label("flagged only").check()
    expect(rows.locator(".chip.flagged")).to_have_count(rows.count())
    table.get_by_role("button", name="Sort by adjusted p").click()
    shown = [text.replace("< ", "") for text in rows.locator("td:last-child").all_inner_texts()]
    assert [float(text) for text in shown] == sorted(float(text) for text in shown)


def test_a_plot_takes_the_curve_of_a_class_and_gives_its_numbers(page: Page) -> None:
    plot = page.locator("figure[data-series]").first
    before = downloaded(page, "figure[data-series] a[download]")
    assert {line[0] for line in before[1:]} == {"all classes"}
    plot.get_by_label("Add a class").fill(HOSTILE)
    plot.get_by_label("Add a class").press("Enter")
    expect(plot.locator(".chosen polyline")).to_have_count(1)
    after = downloaded(page, "figure[data-series] a[download]")
    assert after[: len(before)] == before
    assert {line[0] for line in after[len(before) :]} == {HOSTILE}
    histogram = downloaded(page, "section[aria-labelledby=classes] figure a[download]")
    assert sum(int(line[2]) for line in histogram[1:]) == len(NAMES)


def test_a_plot_alone_is_no_larger_than_one_of_two(page: Page) -> None:
    plots = page.locator(".plots")
    alone = next(own for own in plots.all() if own.locator("figure").count() == 1)
    alone.scroll_into_view_if_needed()
    beside = next(own for own in plots.all() if own.locator("figure").count() > 1)
    widths = [own.locator("figure").first.bounding_box() for own in (alone, beside)]
    assert widths[0] is not None
    assert widths[1] is not None
    assert widths[0]["width"] == pytest.approx(widths[1]["width"], abs=1)


def test_the_policy_names_what_may_run_and_the_model_card_can_be_copied(page: Page) -> None:
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page.get_by_text("The audit as Markdown").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".copy")).to_have_text("Copied")


def test_without_scripts_the_first_rows_are_there_and_with_them_they_say_the_same(
    browser: Browser, file: Path, page: Page
) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(file.as_uri())
    expect(plain.locator(".tools").first).to_be_hidden()
    rows = "[data-classes] > .scroll > table > tbody > tr"
    static = texts(plain.locator(rows))
    context.close()
    assert len(static) == 100
    assert texts(page.locator(rows)) == static[:50]


def test_it_fits_a_phone_and_paper_and_runs_no_other_script(browser: Browser, file: Path) -> None:
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.locator("[data-classes]").get_by_role("columnheader", name="Swap gap")).to_be_visible()
    injected = """() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        return window.ran ?? false;
    }"""
    assert page.evaluate(injected) is False
    page.emulate_media(media="print")
    expect(page.locator(".tools").first).to_be_hidden()
    expect(page.locator(".method li").first).to_be_visible()
    context.close()
