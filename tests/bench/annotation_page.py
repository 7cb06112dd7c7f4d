"""How long an annotator waits for the next panel, and an owner for the results, in a browser with 10,000 panels."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright

from jobs.annotation import Answer, Import, ImportedAnswer
from jobs.annotations import Annotations
from jobs.discovery_request import DiscoveryRequest
from jobs.panels import sprite, tiles
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.settings import Settings
from jobs.store import Store
from models.bank import Statistics
from models.draft import Candidate, Draft, DraftClass, DraftExemplar, DraftSummary
from models.encoder import EncoderSpec
from service.stack import Stack, free_port
from tests.bench.harness import Ratio
from tests.bench.subjects import decoded
from tests.models.conftest import manifest
from tests.service.conftest import wait_for
from tests.service.drafts import write_job

CLASSES, FEATURES = 2_000, 5
TURNS = 60
PICTURES, TILE = 5, 160
OPENINGS, LOOKS = 5, 10
DRAFT = "be" * 16
MOST_SECONDS, OWNERS_SECONDS = 0.1, 1.0

WATCH = """() => {
    window.turns = [];
    let pressed = 0;
    addEventListener("keydown", ({ key }) => { if (key === "Enter") pressed = performance.now(); }, true);
    const painted = () => turns.push(performance.now() - pressed);
    new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame(painted)))
        .observe(document.getElementById("panel"), { attributes: true, attributeFilter: ["data-panel"] });
    performance.setResourceTimingBufferSize(10_000);
}"""
"""From the key that saves an answer to the frame after the next panel was drawn, milliseconds."""

REQUESTS = """(part) => performance.getEntriesByType("resource")
    .filter(({ name }) => name.includes(part)).map(({ duration }) => duration)"""


def measure(folder: Path) -> list[Ratio]:
    """Turning to the next panel, and what the page asks of the service meanwhile."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise FileNotFoundError("no Chromium is installed (Debian: apt-get install chromium)")
    settings = Settings(data_dir=folder / "pages", port=free_port(), threads=1, log_level="warning")
    write_draft(Store.from_settings(settings))
    with Stack(settings, own_redis=True) as stack, httpx.Client(base_url=stack.url, timeout=600) as http:
        wanted = {"draft": DRAFT, "title": "ten thousand", "answers_per_panel": 5, "threshold": 3}
        annotation = http.post("/v1/annotations", json=wanted).raise_for_status().json()
        assert annotation["panels"] == CLASSES * FEATURES
        path = f"/v1/annotations/{annotation['id']}/invitations"
        link = http.post(path, json={"annotator": "Ada"}).raise_for_status().json()["href"]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(base_url=stack.url)
            page.goto(link)
            page.wait_for_selector("#work:not([hidden]):not([aria-busy]) .tiles")
            page.evaluate(WATCH)
            for turn in range(TURNS):
                label(page, turn)
            turns = page.evaluate("turns")
            requests = {
                what: page.evaluate(REQUESTS, part)
                for what, part in (("next panel", "/v1/label/next"), ("answer", "/v1/label/answers/"))
            }
            assert http.get(f"/v1/annotations/{annotation['id']}").json()["answers"] == TURNS
            answer_everything(stack.settings, annotation["id"])
            opened, asked = watch_owner(browser.new_page(base_url=stack.url), page, annotation["id"])
            browser.close()
    shown = f"with {CLASSES * FEATURES:,} panels in the session"
    return [
        Ratio(f"seconds until the next panel is shown, {shown}", *_median(turns)),
        *(Ratio(f"seconds of a request for the {what}, {shown}", *_median(taken)) for what, taken in requests.items()),
        Ratio(
            f"seconds until the owner's page is there, all of {CLASSES * FEATURES:,} panels answered",
            *_median(opened, OWNERS_SECONDS),
        ),
        *(
            Ratio(f"seconds of a request for the {what} while answers come in", *_median(taken))
            for what, taken in asked.items()
        ),
    ]


def answer_everything(settings: Settings, annotation: str) -> None:
    """Four people have answered every panel, mostly alike."""
    queue = JobQueue(settings)
    kinds = ("main_object", "background", "main_object", "separate_object", "main_object", "background")
    answers = [
        ImportedAnswer(
            panel=f"{index}-{feature}",
            answer=Answer(
                annotator=name,
                kind=kinds[(index + feature + (number * index % 7 == 0)) % len(kinds)],  # type: ignore[arg-type]
                confidence=4,
                reason="it lies on the grass",
                seconds=5.0 + number,
            ),
        )
        for number, name in enumerate(("Ben", "Cleo", "Dan", "Eva"))
        for index in range(CLASSES)
        for feature in range(FEATURES)
    ]
    content = Import(answers=tuple(answers)).model_dump_json().encode()
    Annotations(queue.store, queue.ledger).add_import(annotation, "bench", content)


def watch_owner(owner: Page, annotator: Page, annotation: str) -> tuple[list[float], dict[str, list[float]]]:
    """Milliseconds until the owner's page is there, and of its requests while somebody goes on answering."""
    opened = []
    for _ in range(OPENINGS):
        owner.goto("about:blank")
        start = time.perf_counter()
        owner.goto(f"/annotations/{annotation}")
        owner.wait_for_selector("#panels li")
        opened.append(1000 * (time.perf_counter() - start))
    owner.evaluate("performance.setResourceTimingBufferSize(10_000); performance.clearResourceTimings()")
    for turn in range(LOOKS):
        label(annotator, TURNS + turn)
        before = owner.evaluate(REQUESTS, "/results")
        wait_for(lambda before=before: len(owner.evaluate(REQUESTS, "/results")) > len(before), 60)  # type: ignore[misc]
    return opened, {what: owner.evaluate(REQUESTS, f"/{annotation}/{what}?") for what in ("results", "panels")}


def label(page: Page, turn: int) -> None:
    """Answer a panel by keyboard, as fast as a person who knows it already, and wait for the next."""
    for key in (str(1 + turn % 3), str(1 + turn % 5)):
        page.keyboard.press(key)
    page.keyboard.type("grass")
    page.keyboard.press("Enter")
    wait_for(lambda: page.evaluate("turns.length") > turn, 60)
    page.wait_for_load_state("networkidle")


def write_draft(store: Store) -> None:
    """A draft of 10,000 candidates; the panels that are looked at have pictures, real ones."""
    pixels = [torch.from_numpy(np.ascontiguousarray(one)).permute(2, 0, 1)[None] / 255 for one in decoded(3 * PICTURES)]
    row = torch.cat([tiles(one, TILE) for one in pixels]).split(PICTURES)
    panel = sprite(row, PICTURES)
    root = f"discoveries/{DRAFT}"
    request = DiscoveryRequest(dataset="0" * 64, encoder="bank:planted", channels=FEATURES, exemplars=PICTURES)
    write_job(store, DRAFT, request, JobState.SUCCEEDED)
    names = tuple(f"class {index}" for index in range(CLASSES))
    for index, name in enumerate(names):
        described = _class(index, name)
        store.write_bytes(f"{root}/classes/{index}.json", described.model_dump_json().encode())
        if index * FEATURES <= TURNS + LOOKS + 2 * FEATURES:
            store.write_bytes(f"{root}/strips/{index}.jpg", sprite(row[:1], PICTURES))
            for candidate in described.candidates:
                store.write_bytes(f"{root}/{candidate.panel}", panel)
    draft = Draft(
        id=DRAFT,
        code_version="0" * 64,
        encoder=EncoderSpec(name="planted", classes=names, backbone=manifest().backbone),
        encoder_id="bank:" + "1" * 64,
        weights_digest="2" * 64,
        dataset=request.dataset,
        request=request.model_dump(mode="json"),
        grouping=request.grouping,
        pictures=CLASSES,
        classes=tuple(DraftSummary(index=i, name=name, group=1, candidates=FEATURES) for i, name in enumerate(names)),
    )
    store.write_bytes(f"{root}/draft.json", draft.model_dump_json().encode())


def _class(index: int, name: str) -> DraftClass:
    return DraftClass(
        index=index,
        name=name,
        pictures=40,
        group=40,
        strip=f"strips/{index}.jpg",
        candidates=tuple(
            Candidate(
                class_index=index,
                feature_index=feature,
                rank=feature + 1,
                sources=("importance",),
                importance=1.0,
                statistics=Statistics(images=40, mean=0.5, std=0.25, valid_from=1.0, valid_to=3.5),
                exemplars=tuple(
                    DraftExemplar(sample=f"{row}.jpg", row=row, activation=3.5, attacked=4.0) for row in range(PICTURES)
                ),
                panel=f"panels/{index}-{feature}.jpg",
                tile=TILE,
            )
            for feature in range(FEATURES)
        ),
    )


def _median(milliseconds: list[float], most: float = MOST_SECONDS) -> tuple[float, str, dict[str, Any]]:
    """Value, aim and detail of a ratio."""
    ordered = sorted(milliseconds)
    detail = {
        "milliseconds": {
            "median": round(statistics.median(ordered), 1),
            "95th of 100": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
            "most": round(ordered[-1], 1),
            "of": len(ordered),
        }
    }
    return statistics.median(ordered) / 1000, f"<= {most}", detail
