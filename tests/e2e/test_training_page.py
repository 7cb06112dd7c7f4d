"""Trainings on the page of jobs in a real browser, run by a real worker: the plot, the figures, the encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from service.client import Client
from tests.e2e.conftest import OpenPage
from tests.e2e.pages import HOSTILE, PHONE
from tests.jobs import tiny_training
from tests.service.conftest import RunningServer

NEVER_DONE = 5000
"""Epochs of a training that is still running when a test has seen enough of it."""
FIGURES = r"Epoch ([\d,]+) of [\d,]+: clean [\d.]+ %, robust [\d.]+ % of 16 held-out pictures\."


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


@pytest.fixture
def dataset(client: Client, tmp_path: Path) -> str:
    """Id of a data set of bright and dark pictures."""
    return client.upload_dataset(tiny_training.bright_and_dark(tmp_path / "light.zip")).id


def item_of(page: Page, job: str) -> Locator:
    """The item of a job on the page."""
    return page.locator(f"li.job[data-job='{job}']")


def epoch_of(plot: Locator) -> int:
    """The last epoch that the plot's alternative text tells of."""
    found = re.fullmatch(f"Accuracy by epoch, plotted. {FIGURES}", str(plot.get_attribute("alt")))
    assert found, plot.get_attribute("alt")
    return int(found[1].replace(",", ""))


def is_drawn(plot: Locator) -> bool:
    """Whether the picture itself has come."""
    expect(plot).to_have_js_property("complete", True)
    return bool(plot.evaluate("image => image.naturalWidth === 640 && image.naturalHeight === 400"))


def test_a_training_that_runs_is_seen_epoch_by_epoch(
    open_page: OpenPage, client: Client, worker: None, dataset: str
) -> None:
    job = client.submit_training(tiny_training.request(dataset, epochs=NEVER_DONE, title=HOSTILE)).id
    page = open_page("/jobs")
    item = item_of(page, job)
    plot = item.get_by_role("img")
    expect(plot).to_be_visible(timeout=120_000)
    expect(item.locator(".latest")).to_have_text(re.compile(f"^{FIGURES}$"))
    first, address = epoch_of(plot), str(plot.get_attribute("src"))
    item.get_by_text("Epoch by epoch").click()
    expect(plot).not_to_have_attribute("src", address)
    assert epoch_of(plot) > first
    assert is_drawn(plot)
    expect(item.locator("details")).to_have_attribute("open", "")
    expect(item.locator("tbody tr").nth(first)).to_be_visible()
    with page.expect_response("**/epochs.json") as opened:
        item.get_by_role("link", name="epochs.json").click()
    assert opened.value.json()["epochs"][0]["epoch"] == 1
    page.go_back()

    item.get_by_role("button", name="Cancel").click()
    expect(item.locator(".state")).to_have_text("cancelled")
    expect(plot).to_be_visible()
    expect(item.get_by_role("link", name=re.compile("^[0-9a-f]{64}$"))).to_have_count(0)
    assert page.locator("main img[src=x]").count() == 0


def test_one_that_is_done_names_its_encoder(open_page: OpenPage, client: Client, worker: None, dataset: str) -> None:
    job = client.submit_training(tiny_training.request(dataset))
    page = open_page("/jobs", viewport=PHONE)
    item = item_of(page, job.id)
    expect(item.locator(".state")).to_have_text("succeeded", timeout=120_000)
    encoder = item.get_by_role("link", name=re.compile("^[0-9a-f]{64}$"))
    expect(encoder).to_be_visible()
    plot = item.get_by_role("img")
    plot.scroll_into_view_if_needed()
    assert epoch_of(plot) == 3
    assert is_drawn(plot)
    item.get_by_text("Epoch by epoch").click()
    rows = item.locator("tbody tr")
    expect(rows).to_have_count(3)
    for row, record in zip(reversed(rows.all()), client.training_epochs(job.id).epochs, strict=True):
        epoch, *shown = [float(re.sub(" %| s", "", text)) for text in row.locator("th, td").all_inner_texts()]
        assert epoch == record.epoch
        assert record.clean is not None
        assert record.robust is not None
        accuracies = [100 * share for share in (record.clean, record.robust, record.training)]
        assert shown[:4] == pytest.approx([*accuracies, record.loss], abs=0.06)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    with page.expect_response("**/v1/encoders/*") as opened:
        encoder.click()
    assert opened.value.json()["spec"]["classes"] == ["bright", "dark"]


def test_a_head_has_no_plot_and_names_its_encoder(
    open_page: OpenPage, client: Client, worker: None, dataset: str
) -> None:
    job = client.submit_training(tiny_training.request(dataset, route="linear_head", encoder="bank:tiny"))
    page = open_page("/jobs")
    item = item_of(page, job.id)
    expect(item.get_by_role("link", name=re.compile("^[0-9a-f]{64}$"))).to_be_visible(timeout=120_000)
    expect(item.locator(".figures")).to_contain_text("Clean accuracy")
    expect(item.get_by_role("img")).to_have_count(0)


def test_the_list_keeps_its_focus_while_figures_come(
    open_page: OpenPage, client: Client, worker: None, dataset: str
) -> None:
    job = client.submit_training(tiny_training.request(dataset, epochs=NEVER_DONE, seed=1)).id
    page = open_page("/jobs")
    item = item_of(page, job)
    plot = item.get_by_role("img")
    expect(plot).to_be_visible(timeout=120_000)
    summary = item.locator("summary")
    summary.focus()
    address = str(plot.get_attribute("src"))
    expect(plot).not_to_have_attribute("src", address)
    expect(summary).to_be_focused()
    client.cancel(job)
    expect(item.locator(".state")).to_have_text("cancelled")
    expect(summary).to_be_focused()
