"""The pages of annotations in a real browser: people label side by side, and their owner sees what comes of it."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from jobs.discovery_request import DiscoveryRequest
from jobs.redis_server import RedisServer
from jobs.store import Store
from service.client import Client
from service.keys import KeyStore
from tests.e2e.conftest import OpenPage
from tests.e2e.test_pages import HOSTILE, PHONE
from tests.service.annotating import Person, Session, start
from tests.service.conftest import RunningServer, StartServer, running_worker, wait_for
from tests.service.drafts import write_draft
from tests.service.material import archive

CLASSES = ("ant", "bee")
DRAFT = "d7" * 16
PANELS = 4
"""Of a draft with two classes."""

KINDS = {"background": "1", "separate_object": "2", "main_object": "3"}


def new_session(server: RunningServer, drafted: tuple[str, ...] = CLASSES, **fields: Any) -> Session:
    """A fresh draft and its annotation, four panels that want two answers each where not said otherwise."""
    draft = secrets.token_hex(16)
    write_draft(Store.from_settings(server.settings), draft, drafted, sample=f"{HOSTILE}.jpg")
    http = httpx.Client(base_url=server.url, timeout=60)
    return start(http, draft, **{"title": "meadow", "answers_per_panel": 2, "threshold": 1, **fields})


@pytest.fixture
def session(server: RunningServer) -> Session:
    """An annotation of four panels that wants two answers on each."""
    return new_session(server)


def link_of(person: Person) -> str:
    """What is sent to somebody who is invited."""
    return f"/label#{person.token}"


def answers_of(session: Session) -> list[dict[str, Any]]:
    """All answers, each with its panel."""
    return [{"panel": one["panel"], **answer} for one in session.panels() for answer in one["answers"]]


def answer_all(session: Session, name: str, kind: str = "main_object", **others: str) -> None:
    """Somebody answers every panel over HTTP: with `kind`, or as `others` say by a panel's place."""
    person = session.invite(name)
    for place, panel in enumerate(session.panels()):
        said = others.get(f"panel_{place}", kind)
        person.answer(panel["panel"], said, reason=f"{said} it is", seconds=6.5).raise_for_status()


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


def send_now(page: Page) -> None:
    """Press "Send now", which may have gone: the page tries again by itself too, and the press counts all the same."""
    page.locator("#send").dispatch_event("click")


def wait_for_panels(page: Page, number: int) -> None:
    """Wait until the pictures of so many panels have arrived: of the one that is shown, and of those loaded ahead."""
    names = 'performance.getEntriesByType("resource").map((one) => one.name)'
    wait_for(lambda: len({name for name in page.evaluate(names) if "/panels/" in name}) >= number, seconds=30)


# --- Labelling


def test_two_annotators_side_by_side_and_the_owner_sees_agreement_grow(open_page: OpenPage, session: Session) -> None:
    owner = open_page(f"/annotations/{session.id}")
    owner.get_by_label("Name", exact=True).first.fill("Ada")
    owner.get_by_role("button", name="Invite").click()
    link = owner.get_by_role("textbox", name="The link of Ada")
    expect(link).to_have_value(re.compile(r"/label#cci_"))
    ada, ben = open_page(link.input_value()), open_page(link_of(session.invite("Ben")))
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
    given = answers_of(session)
    assert len(given) == 2 * PANELS
    assert all(one["kind"] == of_panel[one["panel"]] for one in given)
    assert {one["reason"] for one in given} == {"as I see it"}


def test_everything_is_done_by_keyboard_and_said(open_page: OpenPage, session: Session) -> None:
    """No pointer is used; what is missing is said, and earlier reasons are an arrow away."""
    page = open_page(link_of(session.invite("Ada")))
    first = shown(page)
    expect(page.locator("#news")).to_contain_text(re.compile(r"(ant|bee), panel \d of 4"))
    expect(page.locator("#which")).to_have_text(re.compile(r"Panel \d of 4 · rank \d · feature \d+"))
    expect(page.locator("#strip .tile")).to_have_count(2)  # the sheet has room for six
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
    (given,) = answers_of(session)
    assert (given["kind"], given["confidence"], given["reason"]) == ("main_object", 4, "a stone, 2 of them")
    assert given["seconds"] > 0


@pytest.mark.parametrize("key", ["u", "Backspace"])
def test_the_last_answer_is_taken_back(open_page: OpenPage, session: Session, key: str) -> None:
    page = open_page(link_of(session.invite("Ada")))
    panel = answer(page, "background", 2, "grass")
    expect_turned(page, panel)
    second = shown(page)
    page.keyboard.press(key)
    expect(page.locator(f"#panel[data-panel='{panel}']")).to_be_visible()
    expect(page.locator("#news")).to_contain_text("Answer taken back.")
    expect(page.get_by_label("What do you see in the red places?")).to_have_value("grass")
    expect(page.locator("#reached")).to_have_text("0 of 4 · 4 left")
    expect_saved(page)
    assert answers_of(session) == []
    page.keyboard.press("Enter")
    expect(page.locator(f"#panel[data-panel='{second}']")).to_be_visible()
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [panel]


def test_one_goes_on_where_one_left_off(open_page: OpenPage, session: Session) -> None:
    page = open_page(link_of(session.invite("Ada")))
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


def test_the_time_spent_on_a_panel_adds_up_over_reloads_but_not_while_hidden(
    open_page: OpenPage, session: Session
) -> None:
    page = open_page("about:blank")
    page.clock.install()
    page.goto(link_of(session.invite("Ada")))
    first = shown(page)
    page.keyboard.press("1")  # an answer is begun: the page comes back to it
    page.clock.fast_forward("00:40")
    page.reload()
    assert shown(page) == first
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.away ?? false, configurable: true})")
    for away, time in (("true", "02:00:00"), ("false", "00:20")):
        page.evaluate(f"window.away = {away}; document.dispatchEvent(new Event('visibilitychange'))")
        page.clock.fast_forward(time)
    answer(page)
    expect_turned(page, first)
    expect_saved(page)
    (given,) = answers_of(session)
    assert 60 <= given["seconds"] < 120
    page.reload()
    shown(page)
    page.keyboard.press("p")
    expect(page.locator(f"#panel[data-panel='{first}']")).to_be_visible()
    page.clock.fast_forward("02:00")
    page.keyboard.press("Enter")
    expect_turned(page, first)
    expect_saved(page)
    assert 180 <= answers_of(session)[0]["seconds"] < 300


def test_a_page_left_open_over_the_weekend_can_still_be_answered(open_page: OpenPage, session: Session) -> None:
    page = open_page("about:blank")
    page.clock.install()
    page.goto(link_of(session.invite("Ada", hours=168)))
    shown(page)
    page.clock.fast_forward(60 * 3_600_000)
    panel = answer(page)
    expect_turned(page, panel)
    expect_saved(page)
    (given,) = answers_of(session)
    assert (given["panel"], given["seconds"]) == (panel, 86_400)


def test_a_double_click_and_a_second_tab_count_once(open_page: OpenPage, session: Session) -> None:
    href = link_of(session.invite("Ada"))
    page = open_page(href)
    tab = page.context.new_page()
    tab.goto(href)
    panel = shown(page)
    assert shown(tab) == panel
    for one, reason in ((page, "a leg"), (tab, "two legs")):
        one.get_by_role("radio", name="Main object The class").check()
        one.get_by_role("radio", name="fairly").check()
        one.get_by_label("What do you see in the red places?").fill(reason)
        one.get_by_role("button", name="Save and go on").dblclick()
        expect_turned(one, panel)
        expect(one.locator("#missing")).to_be_hidden()
        expect_saved(one)
    (given,) = answers_of(session)
    assert (given["panel"], given["reason"]) == (panel, "two legs")


def test_the_token_is_in_no_address(open_page: OpenPage, server: RunningServer, session: Session) -> None:
    ada = session.invite("Ada")
    page = open_page("about:blank")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    page.goto(link_of(ada))
    shown(page)
    assert page.url == f"{server.url}/label"
    assert all(ada.token not in request.url for request in sent)
    assert any(request.headers.get("authorization") == f"Bearer {ada.token}" for request in sent)
    other = page.context.new_page()
    other.goto("/label")  # this browser knows the link
    shown(other)


def test_reasons_and_names_are_text_and_never_markup(open_page: OpenPage, server: RunningServer) -> None:
    session = new_session(server, (HOSTILE, "bee"), title=HOSTILE, classes=[HOSTILE], answers_per_panel=1)
    page = open_page(link_of(session.invite(HOSTILE)))
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


def test_the_store_away_in_mid_vote_and_a_killed_service_cost_no_answer(
    open_page: OpenPage, start_server: StartServer
) -> None:
    """Both are said; each answer is kept, sent again and counted once, the one that was in flight at the kill too."""
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as redis:
        first = start_server(redis_url=redis.url)
        session = new_session(first)
        page = open_page(link_of(session.invite("Ada")), base=first.url)
        wait_for_panels(page, 3)  # so that each answer turns to one that was loaded ahead, whatever is away
        store, away = first.settings.data_dir / "store", first.settings.data_dir / "away"
        store.rename(away)
        answers = [answer(page, reason="the disk is away")]
        expect(page.locator("#saved-words")).to_contain_text("The service cannot save at the moment: 1 answer kept")
        assert not store.exists()
        expect(page.get_by_role("button", name="Send now")).to_be_visible()
        away.rename(store)
        send_now(page)
        expect_saved(page)
        expect_turned(page, answers[0])
        family = first.family()
        for process in family:
            process.suspend()  # the answer reaches it, and it says nothing any more
        answers.append(answer(page, reason="killed"))
        expect(page.locator("#saved-words")).to_have_text("Saving…")
        for process in family:
            process.kill()
        first.process.wait()
        expect(page.locator("#saved-words")).to_contain_text(
            "No connection to the service: 1 answer kept on this device"
        )
        expect_turned(page, answers[1])
        expect(page.get_by_role("button", name="Send now")).to_be_visible()
        again = start_server(redis_url=redis.url, port=first.settings.port, data_dir=first.settings.data_dir)
        send_now(page)
        expect_saved(page)
        expect(page.locator("#reached")).to_have_text("2 of 4 · 2 left")
        assert sorted(one["panel"] for one in answers_of(session)) == sorted(answers)
        again.stop()


def test_the_page_says_that_redis_is_away_and_sends_again(open_page: OpenPage, start_server: StartServer) -> None:
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder:
        with RedisServer(Path(folder)) as redis:
            started = start_server(redis_url=redis.url)
            session = new_session(started)
            page = open_page(link_of(session.invite("Ada")), base=started.url)
            shown(page)
        panel = answer(page)
        expect(page.locator("#saved-words")).to_contain_text("The service cannot save at the moment: 1 answer kept")
        page.close()
        with RedisServer(Path(folder)):
            page = page.context.new_page()
            page.goto("/label")
            expect_saved(page)
            assert [one["panel"] for one in answers_of(session)] == [panel]
        started.stop()


def test_an_answer_whose_acknowledgement_is_lost_is_sent_again_and_counted_once(
    open_page: OpenPage, session: Session
) -> None:
    page = open_page(link_of(session.invite("Ada")))

    def lose(route: Route) -> None:
        route.fetch()  # the service has it; the page does not hear of it
        route.abort()

    page.route("**/v1/label/answers/*", lose)
    panel = answer(page)
    expect(page.locator("#saved-words")).to_contain_text("No connection")
    assert [one["panel"] for one in answers_of(session)] == [panel]
    page.unroute("**/v1/label/answers/*")
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [panel]


def test_send_now_sends_before_the_page_would_by_itself(open_page: OpenPage, session: Session) -> None:
    page = open_page("about:blank")
    page.clock.install()
    page.goto(link_of(session.invite("Ada")))
    shown(page)
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)  # from here on no timer of the page ends
    page.route("**/v1/label/answers/*", lambda route: route.abort())
    panel = answer(page)
    expect(page.locator("#saved-words")).to_contain_text("No connection")
    page.unroute("**/v1/label/answers/*")
    page.get_by_role("button", name="Send now").click()
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [panel]


def revoke(session: Session, person: Person) -> None:
    """Make somebody's link worthless, and wait until it is."""
    session.http.delete(session.path(f"/invitations/{person.invitation}")).raise_for_status()
    wait_for(lambda: person.get().status_code == 401, 30)


@pytest.mark.parametrize("why", ["expired", "revoked", "unknown"])
def test_a_link_that_is_not_taken_is_explained(open_page: OpenPage, session: Session, why: str) -> None:
    ada = session.invite("Ada", hours=0.0002 if why == "expired" else 24)
    if why == "expired":
        wait_for(lambda: ada.get().status_code == 401, 30)
    elif why == "revoked":
        revoke(session, ada)
    else:
        ada.token = ada.token[:-3] + "AAA"
    page = open_page(link_of(ada))
    expect(page.get_by_role("heading", name="This link does not work any more")).to_be_visible()
    expect(page.locator("#message")).to_contain_text("not known here" if why == "unknown" else why)
    expect(page.locator("#message")).to_contain_text("Ask the person who invited you")
    expect(page.locator("#work")).to_be_hidden()


def test_an_answer_by_a_link_revoked_meanwhile_waits_for_the_next_link(open_page: OpenPage, session: Session) -> None:
    ada = session.invite("Ada")
    page = open_page(link_of(ada))
    shown(page)
    revoke(session, ada)
    panel = answer(page)
    expect(page.locator("#message")).to_contain_text("1 answer could not be sent and is kept on this device")
    page.goto(link_of(session.invite("Ada")))  # only the fragment differs: the page itself has to notice
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [panel]


def test_annotators_need_no_key(open_page: OpenPage, start_server: StartServer, redis_url: str) -> None:
    """Where keys are asked for, the browser asks an annotator for none; the owner's pages stay closed to them."""
    server = start_server(auth="on", redis_url=f"{redis_url}?db=9")
    store = Store.from_settings(server.settings)
    write_draft(store, DRAFT, CLASSES)
    _, token = KeyStore(store).create("the owner", ["annotate"])
    http = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    session = start(http, DRAFT, answers_per_panel=1, threshold=1)
    page = open_page(link_of(session.invite("Ada")), base=server.url)
    panel = answer(page)
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [panel]
    assert httpx.get(f"{server.url}/annotations").status_code == 401
    owner = {"username": "anyone", "password": token}
    page = open_page(f"/annotations/{session.id}", base=server.url, http_credentials=owner)
    expect(page.locator("#counts")).to_contain_text("1 of 4 panels")
    expect(page.locator(f"[data-panel='{panel}'] img")).to_have_js_property("complete", True)


def test_without_a_link_the_page_says_what_it_is_for(open_page: OpenPage) -> None:
    page = open_page("/label")
    expect(page.get_by_role("heading", name="Open the link of your invitation")).to_be_visible()


def test_a_closed_annotation_is_said_and_goes_on_when_it_is_opened(open_page: OpenPage, session: Session) -> None:
    page = open_page(link_of(session.invite("Ada")))
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
    assert answers_of(session) == []


# --- The owner's pages


def test_an_annotation_is_started_from_a_draft(open_page: OpenPage, session: Session) -> None:
    draft = session.show()["draft"]
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
    assert (
        page.evaluate("navigator.clipboard.readText()")
        == page.get_by_role("textbox", name="The link of Ada").input_value()
    )
    row = page.locator("#invitations tbody tr", has_text="Ada")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Revoke the link of Ada").click()
    expect(row).to_contain_text("revoked")
    expect(page.locator("#news")).to_have_text("The link of Ada is revoked.")


def test_the_threshold_shows_at_once_what_would_change(open_page: OpenPage, session: Session) -> None:
    answer_all(session, "Ada", panel_0="background")
    answer_all(session, "Ben")
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
    expect(page.locator("#panels > li .badge")).to_have_text(["core", "split"])
    page.get_by_role("button", name="Use this threshold").click()
    expect(page.locator("#about")).to_contain_text("spurious from 2 votes")
    assert session.show()["threshold"] == 2


def test_more_answers_are_asked_for_where_people_differ(open_page: OpenPage, session: Session) -> None:
    answer_all(session, "Ada", panel_1="separate_object")
    answer_all(session, "Ben")
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
def test_votes_go_out_as_a_file_and_come_back(open_page: OpenPage, session: Session, tmp_path: Path, kind: str) -> None:
    answer_all(session, "Ada", "background")
    page = open_page(f"/annotations/{session.id}")
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Export {kind}").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.suffix == f".{kind.lower()}"
    other = start(session.http, session.show()["draft"])
    page.goto(f"/annotations/{other.id}")
    page.get_by_label("Import votes").set_input_files(file)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#imported")).to_contain_text("4")
    expect(page.locator("#counts")).to_contain_text("4 answers")
    assert {one["kind"] for one in answers_of(other)} == {"background"}
    broken = tmp_path / f"broken{file.suffix}"
    broken.write_bytes(file.read_bytes()[:-20])
    page.get_by_label("Import votes").set_input_files(broken)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("alert").first.locator(".problem")).to_be_visible()


# --- From discovery to a bank


def test_two_people_make_a_bank_of_a_discovery(
    open_page: OpenPage, start_server: StartServer, banks_dir: Path, tmp_path: Path
) -> None:
    """All of it on the pages: labels, the validation round, the published bank."""
    shutil.copytree(banks_dir / "tiny", tmp_path / "banks" / "tiny")
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as redis:
        server = start_server(redis_url=redis.url, banks_dir=tmp_path / "banks")
        with running_worker(server.settings, tmp_path / "worker.txt"):
            owner = open_page(f"/annotations/{discovered(server, tmp_path).id}", base=server.url)
            people = []
            for name in ("Ada", "Ben"):
                owner.get_by_label("Name", exact=True).first.fill(name)
                owner.get_by_role("button", name="Invite").click()
                link = owner.get_by_role("textbox", name=f"The link of {name}")
                expect(link).to_be_visible()
                people.append(open_page(link.input_value(), base=server.url))
            expect(owner.get_by_role("button", name="Publish")).to_be_disabled()
            expect(owner.locator("#lacks")).to_contain_text("2 panels have no answer yet.")
            for page, kind in zip(people, ("background", "main_object"), strict=True):
                first = answer(page, kind, 5, "the ground")
                expect_turned(page, first)
                answer(page, kind, 3, "the ground")
                expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
            owner.get_by_role("button", name="Open the validation round").click()
            for page, same in zip(people, (True, False), strict=True):
                for done in (1, 2):  # the page goes on by itself when the pictures are drawn
                    shown(page)
                    expect(page.locator("section.group h2")).to_contain_text(["Highest", "Middle", "Lowest"])
                    expect(page.locator("#labelled")).to_have_text("Labelled main object: “the ground”")
                    for key in ("ArrowDown", "ArrowRight", "x", "ArrowRight", "Space", "ArrowLeft", "x"):
                        page.keyboard.press(key)
                    expect(page.get_by_label("Lowest 1 shows something else")).to_be_checked()
                    expect(page.locator("#ticked")).to_have_text("1 picture ticked as different.")
                    page.keyboard.press("1" if same else "2")
                    expect(page.get_by_label("Middle 1 shows something else")).to_be_focused()
                    page.keyboard.press("Enter")
                    expect_saved(page)
                    expect(page.locator("#problem")).to_be_empty()
                    expect(page.locator("#reached")).to_have_text(f"{done} of 2 · {2 - done} left")
                expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
            expect(owner.locator("#validated")).to_contain_text("0 % validated, 0 of 2")
            owner.get_by_label("Name", exact=True).last.fill("meadow")
            owner.get_by_label("Licence").fill("CC-BY-4.0")
            owner.get_by_role("button", name="Publish").click()
            expect(owner.locator("#published")).to_contain_text("meadow version 1 is published")
            expect(owner.locator("#state")).to_have_text("published")
            expect(owner.locator("#publish")).to_be_hidden()
            bank = httpx.get(f"{server.url}/v1/banks/meadow").raise_for_status().json()
            assert owner.locator("#published code").inner_text() == bank["digest"]
            assert bank["licence"] == "CC-BY-4.0"
        server.stop()


def discovered(server: RunningServer, folder: Path) -> Session:
    """An annotation of two panels, on a draft that a discovery made."""
    (folder / "meadow.zip").write_bytes(archive(20, seed=7))
    with Client(server.url) as client:
        dataset = client.upload_dataset(folder / "meadow.zip")
        wanted = DiscoveryRequest(
            dataset=dataset.id, encoder="bank:tiny", grouping="label", channels=1, exemplars=3, attack_steps=2, tile=32
        )
        job = client.submit_discovery(wanted)
        wait_for(lambda: client.job(job.id).state not in ("queued", "running"), 300)
        assert client.job(job.id).state == "succeeded", client.job(job.id).message
    http = httpx.Client(base_url=server.url, timeout=60)
    classes = http.get(f"/v1/discoveries/{job.id}/draft").json()["classes"]
    chosen = [one["name"] for one in classes if one["candidates"]][:2]
    return start(http, job.id, title="meadow", answers_per_panel=2, threshold=2, classes=chosen)


# --- For everyone

FAINT = Path(__file__).with_name("faint_text.js").read_text()
"""Texts that stand out too little from what is behind them: WCAG 2 asks for 4.5 to 1, of large ones for 3 to 1."""

READY = {"label": ".tiles", "annotation": "#annotators tbody tr", "annotations": "li.job"}
"""What each page shows when it is there."""


def path_of(which: str, session: Session) -> str:
    """Address of a page; a link of its own where it is the annotators'."""
    if which == "label":
        return link_of(session.invite("Ada"))
    return f"/annotations/{session.id}" if which == "annotation" else "/annotations"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["label", "annotation", "annotations"])
def test_nothing_is_wider_than_a_phone(open_page: OpenPage, session: Session, which: str, scheme: str) -> None:
    paths = {
        "label": link_of(session.invite("Ada")),
        "annotation": f"/annotations/{session.id}",
        "annotations": "/annotations",
    }
    answer_all(session, "Ben", "background")
    page = open_page(paths[which], viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    expect(page.locator(READY[which]).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(FAINT) == {}
    small = page.evaluate(
        """() => [...document.querySelectorAll("#answer .pick, #answer button, .panel-votes .choose")]
            .filter((target) => target.checkVisibility() && target.getBoundingClientRect().height < 40)
            .map((target) => target.outerHTML)"""
    )
    assert small == []


@pytest.mark.parametrize("which", ["label", "annotation", "annotations"])
def test_every_control_has_a_name_and_shows_the_focus(open_page: OpenPage, session: Session, which: str) -> None:
    paths = {
        "label": link_of(session.invite("Ada")),
        "annotation": f"/annotations/{session.id}",
        "annotations": "/annotations",
    }
    answer_all(session, "Ben", "background")
    page = open_page(paths[which])
    expect(page.locator(READY[which]).first).to_be_visible()
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
    page = open_page(link_of(session.invite("Ada")), viewport={"width": 1280, "height": 800})
    shown(page)
    panel, questions = page.locator(".tiles").bounding_box(), page.locator("#answer").bounding_box()
    assert panel is not None
    assert questions is not None
    assert panel["y"] + panel["height"] <= 800
    assert questions["y"] + questions["height"] <= 800
    assert panel["height"] >= 500


def test_the_next_panel_is_there_before_it_is_asked_for(open_page: OpenPage, session: Session) -> None:
    """Turning waits for nothing: neither for the panel nor for its pictures."""
    page = open_page(link_of(session.invite("Ada")))
    first = shown(page)
    loaded = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/panels/')).length"
    wait_for(lambda: page.evaluate(loaded) >= 3, 30)
    page.context.set_offline(True)
    answer(page)
    expect_turned(page, first)
    expect(page.locator("button.tile").first).to_have_css("background-image", re.compile("^url"))
    expect(page.locator("#saved-words")).to_contain_text("1 answer kept on this device")
    page.context.set_offline(False)
    expect_saved(page)
    assert [one["panel"] for one in answers_of(session)] == [first]
