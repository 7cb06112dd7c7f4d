"""What the tests of several pages share: what people look from, what strangers write, and what is done on a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

PHONE = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=alert(1)>"


def read(page: Page, file: Path) -> None:
    """Choose a picture and wait for its reading."""
    page.set_input_files("#file", file)
    expect(page.locator("table.sum")).to_be_visible()


def answer_with(page: Page, path: str, body: dict[str, Any]) -> None:
    """Have requests of the page for `path`, a pattern, answered with `body`."""
    page.route(re.compile(path), lambda route: route.fulfill(json=body))


def job_record(**changes: Any) -> dict[str, Any]:
    """A job as the service lists it."""
    return {
        "id": "0f" * 16,
        "kind": "audit",
        "state": "running",
        "created": "2026-11-23T09:30:00Z",
        "done": 0,
        "total": 50_000,
        "rate": 300.4,
        "seconds_left": 150.0,
        "request": {"classifier": "ab" * 32, "dataset": "cd" * 32, "bank": "tiny"},
        "artefacts": [],
    } | changes
