"""Pages in a real browser, over the real service: the reference, jobs, and what holds for all of them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect
from safetensors.torch import save_file

from jobs.audit_request import AuditRequest
from jobs.store import Store
from models import architectures
from models.classifiers.spec import ClassifierSpec
from models.preprocessing import Preprocessing
from service.client import Client
from service.keys import KeyStore
from tests.conftest import ROOT
from tests.e2e.conftest import OpenPage
from tests.e2e.pages import HOSTILE, PHONE, answer_with, job_record, read
from tests.models.conftest import ARGUMENTS, CLASSES
from tests.service.conftest import RunningServer, StartServer, encoded, picture


@dataclass(frozen=True)
class Guarded:
    """A service of its own that asks for keys and has no workers.

    Attributes:
        url: where it answers.
        token: a key for it.
    """

    url: str
    token: str

    @property
    def credentials(self) -> dict[str, str]:
        """What a person types in when the browser asks."""
        return {"username": "anyone", "password": self.token}


@pytest.fixture(scope="session")
def guarded(start_server: StartServer, redis_url: str) -> Guarded:
    """See `Guarded`."""
    started = start_server(auth="on", redis_url=f"{redis_url}?db=7")
    _, token = KeyStore(Store.from_settings(started.settings)).create("a person", ["infer", "audit"])
    return Guarded(started.url, token)


# --- The reference of the API


def test_the_reference_is_drawn_from_this_host_alone_and_tries_requests(open_page: OpenPage) -> None:
    page = open_page("/docs")
    expect(page.locator(".opblock")).to_have_count(
        page.evaluate("""async () => {
            const { paths } = await (await fetch("/openapi.json")).json();
            return Object.values(paths).reduce((sum, path) => sum + Object.keys(path).length, 0);
        }""")
    )
    operation = page.locator(".opblock", has_text="/v1/capabilities")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")


# --- Jobs


def pictures_zip(of_each: int) -> bytes:
    """A data set of the tiny bank's classes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number_of_class, name in enumerate(CLASSES[:3]):
            for index in range(of_each):
                archive.writestr(f"{name}/{index}.png", encoded(picture(seed=100 * number_of_class + index)))
    return buffer.getvalue()


def upload_subjects(client: Client, folder: Path) -> AuditRequest:
    """Upload a classifier and a data set; answers the request for their audit."""
    weights, archive = folder / "classifier.safetensors", folder / "held-out.zip"
    save_file(architectures.build("small_resnet", 3, ARGUMENTS).state_dict(), weights)
    archive.write_bytes(pictures_zip(of_each=8))
    spec = ClassifierSpec(
        format="safetensors",
        architecture="small_resnet",
        arguments=ARGUMENTS,
        classes=CLASSES[:3],
        preprocessing=Preprocessing(size=96),
        name=f"meadow {HOSTILE}",
        version="2",
    )
    classifier, dataset = client.upload_classifier(weights, spec), client.upload_dataset(archive)
    return AuditRequest(classifier=classifier.id, dataset=dataset.id, bank="tiny")


def test_an_audit_is_started_followed_and_its_report_opened(
    open_page: OpenPage, server: RunningServer, worker: None, tmp_path: Path
) -> None:
    with Client(server.url) as client:
        wanted = upload_subjects(client, tmp_path)
    page = open_page("/jobs")
    page.get_by_text("Start an audit").click()
    page.get_by_label("Classifier", exact=True).select_option(wanted.classifier)
    page.get_by_label("Data set", exact=True).select_option(wanted.dataset)
    page.get_by_label("Bank", exact=True).select_option("tiny")
    page.get_by_label("Pictures at most", exact=True).fill("20")
    page.get_by_role("button", name="Start the audit").click()
    job = page.locator("li.job").first
    expect(job).to_contain_text(f"meadow {HOSTILE} 2 on held-out.zip")
    expect(job.locator(".state")).to_have_text("succeeded", timeout=120_000)
    expect(job).to_contain_text("20 of 20 pictures")
    expect(page.locator("#news")).to_contain_text("succeeded")
    job.get_by_role("link", name="Report").click()
    page.wait_for_url("**/report")
    expect(page.locator("h1")).to_be_visible()


def test_masks_are_exported_and_their_files_are_at_hand(
    open_page: OpenPage, server: RunningServer, worker: None, tmp_path: Path
) -> None:
    with Client(server.url) as client:
        wanted = upload_subjects(client, tmp_path)
    page = open_page("/exports", viewport=PHONE)
    page.get_by_text("Start an export").click()
    page.get_by_label("Data set", exact=True).select_option(wanted.dataset)
    page.get_by_label("Bank", exact=True).select_option("tiny")
    page.get_by_label("Masks are written", exact=True).select_option("top")
    page.get_by_label("Strongest pictures, %", exact=True).fill("50")
    page.get_by_label("Format", exact=True).select_option("webdataset")
    page.get_by_label("Classes of the bank, one a line", exact=True).fill("ant\n")
    page.get_by_role("checkbox", name="The pictures beside their masks").check()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Start the export").click()
    page.locator("li.job").first.get_by_role("link", name="Files").click(timeout=120_000)
    expect(page.locator("#about")).to_contain_text("masks of bank tiny")
    with page.expect_download() as download:
        page.get_by_role("link", name="manifest.json").click()
    asked = json.loads(download.value.path().read_bytes())["parameters"]
    assert (asked["validity"], asked["format"], asked["classes"]) == ("top:0.5", "webdataset", ["ant"])
    assert asked["pictures"]
    for pattern in (r"^masks.*\.tar$", r"^rows.*\.parquet$", r"^rankings\.json$"):
        expect(page.get_by_role("link", name=re.compile(pattern))).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_job_is_cancelled_and_retried(open_page: OpenPage, guarded: Guarded, tmp_path: Path) -> None:
    """On a service without workers, where jobs wait; the keyboard stays where it was."""
    page = open_page("/jobs", base=guarded.url, http_credentials=guarded.credentials)
    expect(page.get_by_text("No job has been started yet.")).to_be_visible()
    with Client(guarded.url, key=guarded.token) as client:
        client.submit_audit(upload_subjects(client, tmp_path))
    state = page.locator("li.job .state")
    expect(state).to_have_text("queued")
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(state).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()
    page.keyboard.press("Enter")
    expect(state).to_have_text("queued")


def test_progress_is_live(open_page: OpenPage) -> None:
    page = open_page("about:blank")
    jobs = [job_record(done=5_000)]
    answer_with(page, "/v1/jobs$", {"items": jobs, "next": None})
    page.goto("/jobs")
    job = page.locator("li.job")
    expect(job).to_contain_text("5,000 of 50,000 pictures · 300 a second · 3 min left")
    jobs[0] = job_record(done=45_000, seconds_left=16.0)
    expect(job).to_contain_text("45,000 of 50,000 pictures · 300 a second · 16 s left")
    assert job.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == pytest.approx(0.9)
    jobs[0] = job_record(done=50_000, seconds_left=0.0)
    expect(job).to_contain_text("writing the report")
    jobs[0] = job_record(state="failed", done=50_000, message=f"Out of memory in {HOSTILE}.")
    expect(job).to_contain_text(f"Out of memory in {HOSTILE}.")
    expect(job.get_by_role("button", name="Retry")).to_be_visible()


def test_a_comparison_is_listed_with_what_it_compares(open_page: OpenPage) -> None:
    page = open_page("about:blank")
    request = {"audit": "ab" * 16, "baseline": "cd" * 16, "with": ["ef" * 16]}
    record = job_record(kind="comparison", state="succeeded", done=50_000, request=request)
    answer_with(page, "/v1/jobs$", {"items": [record], "next": None})
    page.goto("/jobs")
    job = page.locator("li.job")
    expect(job.get_by_role("heading")).to_contain_text("Audit abababababab… against cdcdcdcdcdcd…")
    expect(job).to_contain_text("3 audits")
    expect(job.get_by_role("link", name="Comparison on")).to_have_attribute(
        "href", f"/v1/comparisons/{'0f' * 16}/report"
    )


def test_older_jobs_are_a_press_away(open_page: OpenPage) -> None:
    page = open_page("about:blank")
    newest = {"items": [job_record(state="cancelled")], "next": "older"}
    oldest = {"items": [job_record(id="1f" * 16, state="cancelled")], "next": None}
    answer_with(page, "/v1/jobs$", newest)
    answer_with(page, r"/v1/jobs\?cursor=older$", oldest)
    page.goto("/jobs")
    expect(page.locator("li.job")).to_have_count(1)
    page.get_by_role("button", name="Older jobs").click()
    expect(page.locator("li.job")).to_have_count(2)
    expect(page.get_by_role("button", name="Older jobs")).to_be_hidden()


# --- For everyone


@pytest.mark.parametrize("path", ["/", "/jobs"])
def test_every_control_has_a_name_and_shows_the_focus(open_page: OpenPage, path: str, photo: Path) -> None:
    page = open_page(path)
    if path == "/":
        read(page, photo)
    else:
        page.get_by_text("Start an audit").click()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, a[href]")]
            .filter((control) => control.checkVisibility())
            .filter((control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel)
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # once round
        outline, focused = page.evaluate(
            """() => {
                const focused = document.activeElement;
                const shown = focused.id === "file" ? document.querySelector(".blending label[for=file]") : focused;
                return [getComputedStyle(shown).outlineStyle, focused.outerHTML.slice(0, 120)];
            }"""
        )
        assert outline != "none", focused


@pytest.mark.parametrize("path", ["/", "/jobs"])
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, path: str, photo: Path) -> None:
    page = open_page(path, viewport=PHONE)
    if path == "/":
        page.get_by_label("Class", exact=True).select_option(label="bee")
        read(page, photo)
        table = "(table) => table.scrollWidth - table.parentElement.clientWidth"
        assert page.locator("table.features").evaluate(table) <= 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG 2.2, level AA: 4.5 to 1."""
    css = (ROOT / "service" / "pages" / "static" / "cuecheck.css").read_text()
    roots = re.findall(r":root {(.*?)}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", root)) for root in roots)
    colours = light if scheme == "light" else light | dark
    grounds = {
        "ground": ["ink", "muted", "core", "spurious"],
        "surface": ["ink", "muted", "core", "spurious", "good", "bad", "accent"],
        "sunken": ["ink", "muted", "accent"],
        "accent": ["accent-ink"],
        "core-soft": ["core"],
        "spurious-soft": ["spurious"],
        "good-soft": ["good"],
        "bad-soft": ["bad", "ink"],
    }
    for ground, inks in grounds.items():
        for ink in inks:
            darker, lighter = sorted((luminance(colours[ink]), luminance(colours[ground])))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{ink} on {ground}"


def test_the_pages_let_nothing_foreign_in(server: RunningServer) -> None:
    pages = ("/", "/jobs", "/drafts", "/drafts/any", "/annotations", "/annotations/any", "/label")
    for path in (*pages, "/static/picture.js", "/static/cuecheck.css"):
        headers = httpx.get(server.url + path).raise_for_status().headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{server.url}/static/../routes/pages.py").status_code == 404


def test_an_unchanged_file_is_not_sent_again(server: RunningServer) -> None:
    first = httpx.get(f"{server.url}/static/cuecheck.css")
    again = httpx.get(f"{server.url}/static/cuecheck.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_where_keys_are_asked_for_the_browser_asks_once(open_page: OpenPage, guarded: Guarded, photo: Path) -> None:
    refused = httpx.get(guarded.url)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    page = open_page("/", base=guarded.url, http_credentials=guarded.credentials)
    read(page, photo)
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()
