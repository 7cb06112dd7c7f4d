"""The pages of annotations in a real browser: people label side by side, and their owner sees what comes of it."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from jobs.redis_server import RedisServer
from jobs.store import Store
from tests.e2e.conftest import OpenPage
from tests.e2e.test_pages import HOSTILE, PHONE
from tests.service.conftest import RunningServer, StartServer, wait_for
from tests.service.drafts import write_draft

CLASSES = ("ant", "bee")
PANELS = 4
"""Of a draft with two classes."""

KINDS = {"background": "1", "separate_object": "2", "main_object": "3"}


@dataclass(frozen=True)
class Session:
    """An annotation over HTTP, as its owner has it.

    Attributes:
        url: of the service.
        id: of the annotation.
    """

    url: str
    id: str

    @property
    def path(self) -> str:
        """Of the annotation."""
        return f"/v1/annotations/{self.id}"

    def invite(self, annotator: str, hours: float = 24) -> dict[str, Any]:
        """Invite somebody; `href` of the answer is the link."""
        return self.post("/invitations", annotator=annotator, hours=hours)

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """A POST below the annotation."""
        return dict(httpx.post(self.url + self.path + path, json=fields, timeout=60).raise_for_status().json())

    def get(self, path: str = "") -> dict[str, Any]:
        """A GET below the annotation."""
        return dict(httpx.get(self.url + self.path + path, timeout=60).raise_for_status().json())

    def answers(self) -> list[dict[str, Any]]:
        """All answers, each with its panel."""
        panels = self.get("/panels?limit=200")["items"]
        return [{"panel": one["panel"], **answer} for one in panels for answer in one["answers"]]


StartSession = Callable[..., Session]


def new_session(server: RunningServer, classes: tuple[str, ...] = CLASSES, **fields: Any) -> Session:
    """A fresh draft and its annotation."""
    draft = secrets.token_hex(16)
    write_draft(Store.from_settings(server.settings), draft, classes, sample=f"{HOSTILE}.jpg")
    wanted = {"draft": draft, "title": "meadow", "answers_per_panel": 2, "threshold": 1} | fields
    answer = httpx.post(f"{server.url}/v1/annotations", json=wanted, timeout=60).raise_for_status()
    return Session(server.url, str(answer.json()["id"]))


@pytest.fixture
def session(server: RunningServer) -> Session:
    """An annotation of four panels that wants two answers on each."""
    return new_session(server)


def shown(page: Page) -> str:
    """The panel that is shown."""
    expect(page.locator("#work:not([aria-busy]) #panel[data-panel]")).to_be_visible()
    return str(page.locator("#panel").get_attribute("data-panel"))


def answer(page: Page, kind: str = "main_object", confidence: int = 4, reason: str = "legs") -> str:
    """Answer the panel that is shown, by keyboard; returns which it was."""
    panel = shown(page)
    page.keyboard.press(KINDS[kind])
    page.keyboard.press(str(confidence))
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.type(reason)
    page.keyboard.press("Enter")
    return panel


def expect_saved(page: Page) -> None:
    """Wait until everything has arrived."""
    expect(page.locator("#saved-words")).to_have_text("All answers saved")


def expect_turned(page: Page, panel: str) -> None:
    """Wait until another panel than this one is shown."""
    expect(page.locator(f"#panel[data-panel='{panel}']")).to_have_count(0)
    shown(page)


# --- Labelling


def test_two_annotators_side_by_side_and_the_owner_sees_agreement_grow(open_page: OpenPage, session: Session) -> None:
    owner = open_page(f"/annotations/{session.id}")
    owner.get_by_label("Name", exact=True).first.fill("Ada")
    owner.get_by_role("button", name="Invite").click()
    link = owner.get_by_label("The link of Ada")
    expect(link).to_have_value(re.compile(r"/label#cci_"))
    ada, ben = open_page(link.input_value()), open_page(session.invite("Ben")["href"])
    kinds = ("main_object", "background", "main_object", "separate_object")
    of_panel: dict[str, str] = {}
    for turn in range(PANELS):
        for page in (ada, ben):
            panel = shown(page)
            if panel not in of_panel:
                of_panel[panel] = kinds[len(of_panel)]
            answer(page, of_panel[panel], reason="as I see it")
            if turn < PANELS - 1:
                expect_turned(page, panel)
    for page, name in ((ada, "Ada"), (ben, "Ben")):
        expect(page.get_by_role("heading", name=f"Thank you, {name}")).to_be_visible()
        expect_saved(page)
    expect(owner.locator("#counts")).to_contain_text("4 of 4 panels have all their answers · 0 left · 8 answers")
    expect(owner.locator("#kappa")).to_contain_text("1.00 Almost perfect agreement")
    expect(owner.locator("#annotators tbody tr")).to_have_count(2)
    expect(owner.locator("#annotators")).to_contain_text("100 %")
    expect(owner.locator("#labels")).to_contain_text("2 core · 2 spurious")
    given = session.answers()
    assert len(given) == 2 * PANELS
    assert all(one["kind"] == of_panel[one["panel"]] for one in given)
    assert {one["reason"] for one in given} == {"as I see it"}


def test_everything_is_done_by_keyboard_and_said(open_page: OpenPage, session: Session) -> None:
    """No pointer is used; what is missing is said, and earlier reasons are an arrow away."""
    page = open_page(session.invite("Ada")["href"])
    first = shown(page)
    expect(page.locator("#news")).to_contain_text(re.compile(r"(ant|bee), panel \d of 4"))
    page.keyboard.press("Enter")
    expect(page.locator("#missing")).to_have_text("Choose what the red places show.")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("#missing")).to_have_text("Say how sure you are.")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    expect(page.locator("#missing")).to_contain_text("in a few words")
    page.keyboard.type("a stone, 2 of them")  # figures are text there
    page.keyboard.press("Enter")
    expect_turned(page, first)
    page.keyboard.press("2")
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="a stone, 2 of them")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#reason")).to_have_value("a stone, 2 of them")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#reason")).to_have_value("")
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    expect(page.get_by_role("dialog").get_by_role("img", name="Picture, 1 of 3")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("dialog").get_by_role("img", name="Heat map, 1 of 3")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(page.locator(f"#panel[data-panel='{first}']")).to_be_visible()
    expect(page.get_by_role("radio", name="Separate object")).to_be_checked()
    page.keyboard.press("3")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect_turned(page, first)
    expect_saved(page)
    (given,) = session.answers()
    assert (given["kind"], given["confidence"], given["reason"]) == ("main_object", 4, "a stone, 2 of them")
    assert given["seconds"] > 0


@pytest.mark.parametrize("key", ["u", "Backspace"])
def test_the_last_answer_is_taken_back(open_page: OpenPage, session: Session, key: str) -> None:
    page = open_page(session.invite("Ada")["href"])
    panel = answer(page, "background", 2, "grass")
    expect_turned(page, panel)
    second = shown(page)
    page.keyboard.press(key)
    expect(page.locator(f"#panel[data-panel='{panel}']")).to_be_visible()
    expect(page.locator("#news")).to_contain_text("Answer taken back.")
    expect(page.get_by_label("What do you see in the red places?")).to_have_value("grass")
    expect(page.locator("#reached")).to_have_text("0 of 4 · 4 left")
    expect_saved(page)
    assert session.answers() == []
    page.keyboard.press("Enter")
    expect(page.locator(f"#panel[data-panel='{second}']")).to_be_visible()
    expect_saved(page)
    assert [one["panel"] for one in session.answers()] == [panel]


def test_one_goes_on_where_one_left_off(open_page: OpenPage, session: Session) -> None:
    page = open_page(session.invite("Ada")["href"])
    first = answer(page)
    expect_turned(page, first)
    second = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.type("half a thou")
    expect_saved(page)
    page.reload()
    assert shown(page) == second
    expect(page.get_by_role("radio", name="Background")).to_be_checked()
    expect(page.locator("#reason")).to_have_value("half a thou")
    expect(page.locator("#reached")).to_have_text("1 of 4 · 3 left")
    page.keyboard.press("u")  # the focus is on the questions again
    expect(page.locator(f"#panel[data-panel='{first}']")).to_be_visible()


def test_a_double_click_and_a_second_tab_count_once(open_page: OpenPage, session: Session) -> None:
    href = session.invite("Ada")["href"]
    page = open_page(href)
    tab = page.context.new_page()
    tab.goto(href)
    panel = shown(page)
    assert shown(tab) == panel
    for one, reason in ((page, "a leg"), (tab, "two legs")):
        one.get_by_text("Main object", exact=True).click()
        one.get_by_text("fairly").click()
        one.get_by_label("What do you see in the red places?").fill(reason)
        one.get_by_role("button", name="Save and go on").dblclick()
        expect_turned(one, panel)
        expect(one.locator("#missing")).to_be_hidden()
        expect_saved(one)
    (given,) = session.answers()
    assert (given["panel"], given["reason"]) == (panel, "two legs")


def test_the_token_is_in_no_address(open_page: OpenPage, session: Session) -> None:
    invitation = session.invite("Ada")
    page = open_page("about:blank")
    sent: list[Request] = []
    page.on("request", sent.append)
    page.goto(invitation["href"])
    shown(page)
    assert page.url == f"{session.url}/label"
    assert all(invitation["token"] not in request.url for request in sent)
    assert any(request.headers.get("authorization") == f"Bearer {invitation['token']}" for request in sent)
    other = page.context.new_page()
    other.goto("/label")  # this browser knows the link
    shown(other)


def test_reasons_and_names_are_text_and_never_markup(open_page: OpenPage, server: RunningServer) -> None:
    session = new_session(server, (HOSTILE, "bee"), title=HOSTILE, classes=[HOSTILE], answers_per_panel=1)
    page = open_page(session.invite(HOSTILE)["href"])
    shown(page)
    for place in ("#title", "#class-name", "#class-description", "#annotator", "#main-object"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
    answer(page, reason=HOSTILE)
    expect(page.locator("#picks button")).to_have_text(HOSTILE)
    expect_saved(page)
    owner = open_page(f"/annotations/{session.id}")
    owner.locator(".panel-votes summary").first.click()
    for place in ("#title", "#panels", "#invitations", "#annotators", ".said"):
        expect(owner.locator(place).first).to_contain_text(HOSTILE)
    owner.goto("/annotations")
    expect(owner.locator("#list")).to_contain_text(HOSTILE)
    for one in (page, owner):
        assert one.locator("main img[src=x], header img[src=x]").count() == 0


# --- When something is away


def test_a_service_that_goes_away_in_mid_vote_costs_no_answer(open_page: OpenPage, start_server: StartServer) -> None:
    """Kept, said, sent again, counted once; also after the page was closed meanwhile."""
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as redis:
        first = start_server(redis_url=redis.url)
        session = new_session(first)
        page = open_page(session.invite("Ada")["href"], base=first.url)
        answers = [answer(page, reason="before")]
        expect_turned(page, answers[0])
        expect_saved(page)
        first.stop()
        answers.append(answer(page, reason="while it is away"))
        expect(page.locator("#saved-words")).to_contain_text("No connection to the service: 1 answer kept on this device")
        expect_turned(page, answers[1])  # the next panel was loaded ahead
        again = start_server(
            redis_url=redis.url, port=first.settings.port, data_dir=first.settings.data_dir
        )
        expect_saved(page)
        expect(page.locator("#reached")).to_have_text("2 of 4 · 2 left")
        assert sorted(one["panel"] for one in session.answers()) == sorted(answers)
        again.stop()


def test_the_page_says_that_redis_is_away_and_sends_again(open_page: OpenPage, start_server: StartServer) -> None:
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder:
        with RedisServer(Path(folder)) as redis:
            started = start_server(redis_url=redis.url)
            session = new_session(started)
            page = open_page(session.invite("Ada")["href"], base=started.url)
            shown(page)
        panel = answer(page)
        expect(page.locator("#saved-words")).to_contain_text("The service cannot save at the moment: 1 answer kept")
        page.close()
        with RedisServer(Path(folder)):
            page = page.context.new_page()
            page.goto("/label")
            expect_saved(page)
            assert [one["panel"] for one in session.answers()] == [panel]
        started.stop()


def test_an_answer_whose_acknowledgement_is_lost_is_sent_again_and_counted_once(
    open_page: OpenPage, session: Session
) -> None:
    page = open_page(session.invite("Ada")["href"])
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.request.url)
        route.fetch()  # the service has it; the page does not hear of it
        route.abort()

    page.route("**/v1/label/answers/*", lose)
    panel = answer(page)
    expect(page.locator("#saved-words")).to_contain_text("No connection")
    page.get_by_role("button", name="Send now").click()
    expect_saved(page)
    assert [one["panel"] for one in session.answers()] == [panel]


@pytest.mark.parametrize("why", ["expired", "revoked", "unknown"])
def test_a_link_that_is_not_taken_is_explained(open_page: OpenPage, session: Session, why: str) -> None:
    invitation = session.invite("Ada", hours=0.0002 if why == "expired" else 24)
    if why == "revoked":
        httpx.delete(f"{session.url}{session.path}/invitations/{invitation['id']}").raise_for_status()
    href = invitation["href"][:-3] + "AAA" if why == "unknown" else invitation["href"]
    if why == "expired":
        headers = {"Authorization": f"Bearer {invitation['token']}"}
        wait_for(lambda: httpx.get(f"{session.url}/v1/label", headers=headers).status_code == 401, 30)
    page = open_page(href)
    expect(page.get_by_role("heading", name="This link does not work any more")).to_be_visible()
    expect(page.locator("#message")).to_contain_text("not known here" if why == "unknown" else why)
    expect(page.locator("#message")).to_contain_text("Ask the person who invited you")
    expect(page.locator("#work")).to_be_hidden()


def test_an_answer_by_a_link_revoked_meanwhile_waits_for_the_next_link(open_page: OpenPage, session: Session) -> None:
    invitation = session.invite("Ada")
    page = open_page(invitation["href"])
    shown(page)
    httpx.delete(f"{session.url}{session.path}/invitations/{invitation['id']}").raise_for_status()
    headers = {"Authorization": f"Bearer {invitation['token']}"}
    wait_for(lambda: httpx.get(f"{session.url}/v1/label", headers=headers).status_code == 401, 30)
    panel = answer(page)
    expect(page.locator("#message")).to_contain_text("1 answer could not be sent and is kept on this device")
    page.goto(session.invite("Ada")["href"])
    page.reload()
    expect_saved(page)
    assert [one["panel"] for one in session.answers()] == [panel]


def test_without_a_link_the_page_says_what_it_is_for(open_page: OpenPage) -> None:
    page = open_page("/label")
    expect(page.get_by_role("heading", name="Open the link of your invitation")).to_be_visible()


def test_an_annotation_that_is_closed_is_said_and_goes_on_when_it_is_opened(open_page: OpenPage, session: Session) -> None:
    page = open_page(session.invite("Ada")["href"])
    shown(page)
    owner = open_page(f"/annotations/{session.id}")
    owner.get_by_role("button", name="Close for answers").click()
    expect(owner.locator("#state")).to_have_text("closed")
    answer(page)
    expect(page.get_by_role("alert").first).to_contain_text("was not taken")
    expect(page.locator("#message")).to_contain_text("The annotation is closed.")
    owner.get_by_role("button", name="Open again").click()
    expect(owner.locator("#state")).to_have_text("open")
    shown(page)
    assert session.answers() == []


# --- The owner's pages


def label_all(session: Session, annotator: str, kinds: dict[str, str]) -> None:
    """Answer panels over HTTP: their kinds by id."""
    headers = {"Authorization": f"Bearer {session.invite(annotator)['token']}"}
    for panel, kind in kinds.items():
        body = {"kind": kind, "confidence": 4, "reason": f"{kind} it is", "seconds": 6.5}
        put = httpx.put(f"{session.url}/v1/label/answers/{panel}", json=body, headers=headers, timeout=60)
        put.raise_for_status()


def panels_of(session: Session) -> list[str]:
    """Ids of the panels, in their order."""
    return [one["panel"] for one in session.get("/panels?limit=200")["items"]]


def test_an_annotation_is_started_from_a_draft(open_page: OpenPage, session: Session) -> None:
    draft = session.get()["draft"]
    page = open_page(f"/drafts/{draft}")
    page.get_by_role("link", name="Let people label it").click()
    expect(page.get_by_label("Draft")).to_have_value(draft)
    page.get_by_label("Title").fill("bees alone")
    page.get_by_label("Answers per panel").fill("7")
    expect(page.get_by_label("Spurious from")).to_have_value("4")
    page.get_by_label("Classes, one a line").fill("bee")
    page.get_by_role("button", name="Start the annotation").click()
    expect(page.get_by_role("heading", name="bees alone")).to_be_visible()
    expect(page.locator("#about")).to_contain_text("Every panel is asked of 7 people; spurious from 4 votes.")
    page.get_by_role("link", name="All annotations").click()
    expect(page.locator("li.job").first).to_contain_text("bees alone")


def test_links_are_copied_listed_and_revoked(open_page: OpenPage, session: Session) -> None:
    page = open_page(f"/annotations/{session.id}", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#nobody")).to_be_visible()
    page.get_by_label("Name", exact=True).first.fill("Ada")
    page.get_by_label("The link works for").select_option(label="a day")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Invite").click()
    page.get_by_role("button", name="Copy").press("Enter")
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("The link of Ada").input_value()
    row = page.locator("#invitations tbody tr", has_text="Ada")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Revoke the link of Ada").click()
    expect(row).to_contain_text("revoked")
    expect(page.locator("#news")).to_have_text("The link of Ada is revoked.")


def test_the_threshold_shows_at_once_what_would_change(open_page: OpenPage, session: Session) -> None:
    panels = panels_of(session)
    label_all(session, "Ada", dict.fromkeys(panels, "main_object") | {panels[0]: "background"})
    label_all(session, "Ben", dict.fromkeys(panels, "main_object"))
    page = open_page(f"/annotations/{session.id}")
    expect(page.locator("#labels")).to_contain_text("3 core · 1 spurious")
    slider = page.get_by_role("slider", name="Votes for background or separate object")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "2 of 2 votes")
    expect(page.locator("#labels")).to_contain_text("4 core · 0 spurious")
    expect(page.locator("#changes")).to_contain_text("1 label would change")
    page.get_by_role("button", name="Show them").click()
    expect(page.locator("#panels > li")).to_have_count(1)
    expect(page.locator(f"[data-panel='{panels[0]}']")).to_contain_text("core")
    page.get_by_role("button", name="Use this threshold").click()
    expect(page.locator("#about")).to_contain_text("spurious from 2 votes")
    assert session.get()["threshold"] == 2


def test_more_answers_are_asked_for_where_people_differ(open_page: OpenPage, session: Session) -> None:
    panels = panels_of(session)
    label_all(session, "Ada", dict.fromkeys(panels, "main_object") | {panels[1]: "separate_object"})
    label_all(session, "Ben", dict.fromkeys(panels, "main_object"))
    page = open_page(f"/annotations/{session.id}")
    page.get_by_role("button", name="Split").click()
    item = page.locator("#panels > li")
    expect(item).to_have_count(1)
    expect(item.get_by_role("img", name="1 main object, 1 separate object")).to_be_visible()
    item.get_by_text("2 answers").click()
    expect(item).to_contain_text("separate_object it is")
    page.get_by_label("All that are shown").check()
    page.get_by_label("Further answers").fill("3")
    page.get_by_role("button", name="Ask for more on 1 panel").click()
    expect(item.get_by_role("img", name="1 main object, 1 separate object; 3 wanted")).to_be_visible()
    expect(page.locator("#counts")).to_contain_text("3 of 4 panels have all their answers")
    expect(item.locator("details")).to_have_attribute("open", "")  # what was opened stays so


@pytest.mark.parametrize("kind", ["CSV", "JSON"])
def test_votes_go_out_as_a_file_and_come_back(
    open_page: OpenPage, session: Session, server: RunningServer, tmp_path: Path, kind: str
) -> None:
    panels = panels_of(session)
    label_all(session, "Ada", dict.fromkeys(panels, "background"))
    page = open_page(f"/annotations/{session.id}")
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Export {kind}").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.suffix == f".{kind.lower()}"
    other = new_session(server)
    page.goto(f"/annotations/{other.id}")
    page.get_by_label("Import votes").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#imported")).to_contain_text("4")
    expect(page.locator("#counts")).to_contain_text("4 answers")
    assert {one["kind"] for one in other.answers()} == {"background"}
    broken = tmp_path / f"broken{file.suffix}"
    broken.write_bytes(file.read_bytes()[:-20])
    page.get_by_label("Import votes").set_input_files(broken)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("alert").first.locator(".problem")).to_be_visible()


# --- For everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["label", "annotation", "annotations"])
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, session: Session, which: str, scheme: str) -> None:
    paths = {"label": session.invite("Ada")["href"], "annotation": f"/annotations/{session.id}", "annotations": "/annotations"}
    label_all(session, "Ben", dict.fromkeys(panels_of(session), "background"))
    page = open_page(paths[which], viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    ready = {"label": ".tiles", "annotation": "#annotators tbody tr", "annotations": "li.job"}[which]
    expect(page.locator(ready).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate(
        """() => [...document.querySelectorAll("#answer .pick, #answer button, .panel-votes .choose")]
            .filter((target) => target.checkVisibility() && target.getBoundingClientRect().height < 40)
            .map((target) => target.outerHTML)"""
    )
    assert small == []


@pytest.mark.parametrize("which", ["label", "annotation", "annotations"])
def test_every_control_has_a_name_and_shows_the_focus(open_page: OpenPage, session: Session, which: str) -> None:
    paths = {"label": session.invite("Ada")["href"], "annotation": f"/annotations/{session.id}", "annotations": "/annotations"}
    label_all(session, "Ben", dict.fromkeys(panels_of(session), "background"))
    page = open_page(paths[which])
    ready = {"label": ".tiles", "annotation": "#annotators tbody tr", "annotations": "li.job"}[which]
    expect(page.locator(ready).first).to_be_visible()
    if which == "annotations":
        page.get_by_text("Start an annotation").click()
        expect(page.get_by_label("Title")).to_be_visible()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea, button, a[href], summary, [tabindex='0']")]
            .filter((control) => control.checkVisibility())
            .filter((control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel)
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # once round
        outline, focused = page.evaluate(
            """() => {
                const focused = document.activeElement;
                const shown = focused.closest(".pick") ?? focused;
                return [getComputedStyle(shown).outlineStyle, focused.outerHTML.slice(0, 120)];
            }"""
        )
        assert outline != "none", focused


def test_the_panel_fills_the_screen_without_scrolling(open_page: OpenPage, session: Session) -> None:
    page = open_page(session.invite("Ada")["href"], viewport={"width": 1280, "height": 800})
    shown(page)
    panel, questions = page.locator(".tiles").bounding_box(), page.locator("#answer").bounding_box()
    assert panel is not None
    assert questions is not None
    assert panel["y"] + panel["height"] <= 800
    assert questions["y"] + questions["height"] <= 800
    assert panel["height"] >= 500


def test_the_next_panel_is_there_before_it_is_asked_for(open_page: OpenPage, session: Session) -> None:
    """Turning waits for nothing: neither for the panel nor for its pictures."""
    page = open_page(session.invite("Ada")["href"])
    first = shown(page)
    page.wait_for_function("performance.getEntriesByType('resource').filter((one) => one.name.includes('/panels/')).length >= 3")
    page.context.set_offline(True)
    answer(page)
    expect_turned(page, first)
    expect(page.locator("button.tile").first).to_have_css("background-image", re.compile("^url"))
    expect(page.locator("#saved-words")).to_contain_text("1 answer kept on this device")
    page.context.set_offline(False)
    expect_saved(page)
    assert [one["panel"] for one in session.answers()] == [first]
