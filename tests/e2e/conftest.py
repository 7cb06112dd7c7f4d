"""What the tests of the whole need: the service and its worker, commands of a stack of their own, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.commands import http, settings, start
from tests.service.conftest import RunningServer, banks_dir, encoded, picture, redis_url, server, start_server, worker

__all__ = ["banks_dir", "http", "redis_url", "server", "settings", "start", "start_server", "worker"]

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=30_000)  # what is waited for comes within one second on an idle machine

OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")  # playwright keeps an event loop running, in which no other test may run its own
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window; tests that need it are skipped where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, server: RunningServer) -> Iterator[OpenPage]:
    """Opens pages of the shared service, or of the one at `base`.

    The test fails if a script of theirs throws, breaks the content security policy, opens a dialog (as injected ones
    would) or asks another host for anything.
    """
    complaints: list[str] = []

    def watch(page: Page, base: str) -> None:
        own = (base, "blob:", "about:")
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"a script opened a dialog: {dialog.message}"))
        page.on("console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None)
        page.on("request", lambda sent: None if sent.url.startswith(own) else complaints.append(sent.url))

    with ExitStack() as opened:

        def run(path: str, base: str = server.url, **options: Any) -> Page:
            context = browser.new_context(base_url=base, **options)
            opened.callback(context.close)
            page = context.new_page()
            watch(page, base)
            page.goto(path)
            return page

        yield run
    assert complaints == []


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture that is wider than high, so that the model's crop leaves its sides out."""
    path = tmp_path / "meadow.png"
    path.write_bytes(encoded(picture(120, 200)))
    return path
