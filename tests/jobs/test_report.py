"""The report: what it says, that it is complete and equal for equal inputs, and the page made of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from jobs import markdown
from jobs.audit import audit_shard
from jobs.classification import Predict
from jobs.counts import Counts
from jobs.datasets import Sample
from jobs.examples import Exhibit, SwapExhibit, Viewer, exhibits, spotlight, swap_exhibits
from jobs.figures import Figure
from jobs.model_card import model_card
from jobs.reduction import find
from jobs.report import Report, make_report, schema
from jobs.report_page import render_html
from jobs.sections import Entry, Metric, Point, Section, Series
from models.bank import Bank
from tests.jobs import world
from tests.jobs.large_report import classifier, dataset

ROOT = Path(__file__).resolve().parents[2]
BANK = world.bank()
CLASSES = ("hen", "owl")


Published = tuple[Report, list[Exhibit], list[SwapExhibit]]


def audit(predict: Predict, hens: int = 40, name: str = "barn birds", bank: Bank = BANK) -> Published:
    """Of hens with cues and half as many owls; in `BANK` owls have none, and so nobody swaps."""
    items = world.samples(hens, hens // 2, owls_cue=bank is not BANK)
    items.append(Sample(len(items), "hen/<b>torn</b>.png", 0, b"no picture"))
    subjects = world.subjects(predict, bank, dataset=items)
    table = audit_shard(items, subjects, world.REQUEST, 10**6, lambda done: None)
    counts = Counts.of(bank, [table])
    findings = find(counts, bank, world.REQUEST.seed)
    report = make_report(
        "a" * 32,
        "1.0+0",
        world.REQUEST,
        classifier(name, CLASSES),
        dataset("farm", CLASSES, len(items)),
        bank,
        counts,
        findings,
    )
    viewer = Viewer(
        bank=bank,
        backbone=world.backbone(),
        classifier=world.PREPROCESSING,
        of_label=subjects.classes.of_label,
        read=subjects.pictures.read,
        max_pixels=10**6,
    )
    shown = exhibits(findings.classes, counts.worst, viewer, world.REQUEST)
    return report, shown, swap_exhibits(findings.classes, counts.worst_swaps, viewer)


@pytest.fixture(scope="module")
def reliant() -> Published:
    return audit(world.looking_at(world.GREEN))


@pytest.fixture(scope="module")
def sound() -> Published:
    return audit(world.looking_at(world.RED))


class Page(HTMLParser):
    """Elements of a page: tags with attributes, and the text outside <style> and <script>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._tag = tag

    def handle_data(self, data: str) -> None:
        if self._tag not in ("style", "script"):
            self.text += data


def test_the_answer_is_plain(reliant: Published, sound: Published) -> None:
    assert reliant[0].answer == (
        "This classifier relies on spurious features in the one class that could be judged: hen."
    )
    assert (reliant[0].verdict, reliant[0].flagged) == ("relies", ["hen"])
    assert sound[0].answer == "No reliance on spurious features was shown in the one class that could be judged."
    assert (sound[0].verdict, sound[0].flagged) == ("not_shown", [])


def test_too_few_pictures_give_no_verdict() -> None:
    report, shown, swapped = audit(world.looking_at(world.GREEN), hens=5)
    assert report.verdict == "cannot_tell"
    assert report.unjudged == ["hen"]
    assert report.headline.value is None
    assert shown == swapped == []
    assert "cannot tell" in render_html(report, shown, swapped)


def test_every_figure_has_its_pictures_its_interval_and_a_sentence(reliant: Published) -> None:
    def figures(value: object) -> list[Figure]:
        if isinstance(value, Figure):
            return [value]
        if isinstance(value, list):
            return [figure for item in value for figure in figures(item)]
        fields = getattr(type(value), "model_fields", {})
        return [figure for name in fields for figure in figures(getattr(value, name))]

    found = figures(reliant[0])
    assert len(found) > 30
    for figure in found:
        assert figure.reading.endswith(".")
        if figure.withheld is None:
            assert figure.low is not None
            assert figure.high is not None
            assert figure.value is not None
            assert figure.low <= figure.value <= figure.high
            assert f"{figure.n:,} pictures" in figure.reading
        else:
            assert figure.value is None


def test_the_report_fits_its_published_schema(reliant: Published) -> None:
    published = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.validate(json.loads(reliant[0].to_json()), published)


def test_the_published_schema_is_that_of_this_code() -> None:
    """`python -m jobs.report > docs/report.schema.json` after a change."""
    assert (ROOT / "docs" / "report.schema.json").read_text() == schema()


def test_equal_inputs_give_equal_bytes(reliant: Published) -> None:
    again = audit(world.looking_at(world.GREEN))
    assert again[0].to_json() == reliant[0].to_json()
    assert render_html(*again) == render_html(*reliant)


def test_nothing_in_it_tells_the_time(reliant: Published) -> None:
    text = reliant[0].to_json().decode()
    assert str(datetime.now(UTC).year) not in re.sub(r"ICLR \d{4}|CVPR \d{4}", "", text)
    assert "seconds" not in text


def test_a_report_comes_back_from_its_json(reliant: Published) -> None:
    assert Report.model_validate_json(reliant[0].to_json()) == reliant[0]


def test_skipped_samples_are_named_with_their_reason(reliant: Published) -> None:
    report = reliant[0]
    assert report.findings.skipped == {"not_a_picture": 1}
    assert [sample.sample for sample in report.skipped_samples] == ["hen/<b>torn</b>.png"]


def test_examples_show_the_cue_and_what_noise_on_it_does(reliant: Published) -> None:
    (exhibit,) = reliant[1]
    assert (exhibit.class_name, exhibit.findings.feature) == ("hen", 1)
    assert len(exhibit.examples) == 3
    for example in exhibit.examples:
        assert example.worst.lost
        assert example.worst.tested < 0.5 < example.worst.control
        pictures = {example.picture, example.overlay, example.tested, example.control}
        assert len(pictures) == 4
        assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)


def test_examples_of_swaps_show_the_cues_of_both_classes() -> None:
    report, shown, swapped = audit(world.looking_at(world.GREEN), bank=world.bank_of_two_cues())
    exhibit, _ = swapped
    assert [own.findings.name for own in swapped] == ["hen", "owl"]
    assert len(exhibit.examples) == 3
    for example in exhibit.examples:
        assert example.worst.lost
        assert example.other_class == "owl"
        assert example.worst.tested < 0.5 < example.worst.control
        yellow = [colours(picture, world.YELLOW) for picture in (example.picture, example.same, example.other)]
        green = [colours(picture, world.GREEN) for picture in (example.picture, example.same, example.other)]
        assert (yellow[0], yellow[1], green[2]) == (0, 0, 0)
        assert min(yellow[2], green[0], green[1]) > 0.05
        green_lit = [colours(picture, world.GREEN) for picture in (example.picture, example.overlay)]
        assert green_lit[1] > green_lit[0] / 3, "the overlay leaves the cue as it is"
        assert colours(example.overlay, world.RED) < colours(example.picture, world.RED) / 3, "and dims the object"
    page = Page(render_html(report, shown, swapped))
    assert "Pictures with the cues of another class" in page.text
    shown_alts = [a["alt"] for tag, a in page.elements if tag == "img"]
    assert shown_alts.count("with spurious features of owl") == 3


def colours(uri: str, colour: tuple[int, int, int]) -> float:
    """Share of a JPEG picture's pixels that are about of a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)
    return float((np.abs(pixels - np.array(colour)).max(axis=-1) < 40).mean())


def test_a_spotlight_keeps_what_the_mask_covers_and_greys_the_rest() -> None:
    picture = torch.rand(3, 40, 40)
    mask = torch.zeros(40, 40)
    mask[10:30, 10:30] = 1
    lit = spotlight(picture, mask)
    torch.testing.assert_close(lit[:, 14:26, 14:26], picture[:, 14:26, 14:26])
    outside = lit[:, :8, :]
    assert torch.equal(outside[0], outside[1])
    assert float(outside.max()) <= 0.43 + 1e-6


def test_the_page_opens_with_the_answer_and_asks_the_network_for_nothing(reliant: Published) -> None:
    html = render_html(*reliant)
    page = Page(html)
    assert page.text.index(reliant[0].answer) < page.text.index("Class by class")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "iframe", "object", "embed", "base"}
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/jpeg", "data:text/", "#")), value
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_says_what_every_section_says_before_the_tables(reliant: Published) -> None:
    section = section_of("the well")
    page = Page(render_html(reliant[0].model_copy(update={"sections": (section,)}), [], []))
    assert page.text.index(section.answer) < page.text.index("The verdicts in words")
    targets = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a" and "#" in attributes["href"]}
    assert targets == {"answer", "classes", "figures", "section-1", "method"}
    assert targets <= {attributes.get("id") for _, attributes in page.elements}


def test_what_is_withheld_comes_last_among_the_figures_of_a_section(reliant: Published) -> None:
    section = section_of("the well")
    plain = section.entries[2].model_copy(update={"p_value": None, "adjusted_p_value": None, "flagged": False})
    shuffled = section.model_copy(update={"entries": (section.entries[1], plain)})
    html = render_html(reliant[0].model_copy(update={"sections": (shuffled,)}), [], [])
    assert [own[7][0] for own in embedded(html)[1]["entries"]] == [3.5, None]


def test_the_page_says_all_that_the_report_says(reliant: Published) -> None:
    report = reliant[0]
    text = Page(render_html(*reliant)).text
    for said in (
        report.headline.reading,
        *report.reservations,
        *report.method,
        report.audit,
        report.code_version,
        report.classifier.id,
        report.bank.digest,
        report.findings.classes[0].reading,
    ):
        assert said in text


def test_the_policy_allows_the_own_script_and_style_by_their_digests_alone(reliant: Published) -> None:
    html = render_html(*reliant)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = unescape(policy[1])
    for tag in ("style", "script"):
        (inlined,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert allowed.startswith("default-src 'none'; img-src data:;")
    assert " style=" not in html  # the policy would drop it


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '</script><b x="', "\u2028<!--<script>"])
def test_names_from_users_are_escaped(hostile: str, reliant: Published) -> None:
    report = reliant[0]
    hen = report.findings.classes[0].model_copy(update={"name": hostile})
    named = report.model_copy(
        update={
            "classifier": report.classifier.model_copy(update={"name": hostile}),
            "dataset": report.dataset.model_copy(update={"name": hostile}),
            "findings": report.findings.model_copy(update={"classes": [hen], "without_pictures": [hostile]}),
            "sections": (section_of(hostile),),
        }
    )
    html = render_html(named, [], [])
    assert hostile not in html
    assert "<b>torn" not in html
    assert html.count("<script") == html.count("</script>") == 3  # the script, and the data of the page and the section
    classes, section = embedded(html)
    assert classes["names"][0] == hostile
    assert section["parts"] == [hostile]
    assert hostile not in model_card(named)


def embedded(html: str) -> list[dict[str, Any]]:
    """The data within a page."""
    return [
        json.loads(own) for own in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    ]


def section_of(name: str) -> Section:
    """Of a measurement nobody knows, with one class and part of that name."""
    metric = Metric(name="depth", title=name, unit="energy", worse="lower", about=name)
    figure = Figure(value=3.5, low=2.25, high=4.75, n=30, reading=f"It is 3.5 on {name}.")
    withheld = Figure(value=None, low=None, high=None, n=3, withheld=f"3 {name} are too few", reading="Withheld.")
    return Section(
        name="plumbing",
        title=name,
        answer=f"Deep in {name}.",
        method=(name,),
        metrics=(metric,),
        entries=(
            Entry(metric="depth", part=name, figure=figure),
            Entry(metric="depth", of=name, feature=7, part=name, figure=withheld),
            Entry(metric="depth", of=name, part=name, figure=figure, p_value=0.01, adjusted_p_value=0.02, flagged=True),
        ),
        series=(
            Series(name="curve", title=name, x_title=name, unit="nats", of=name, points=(Point(x=0.5, figure=figure),)),
        ),
    )


def test_a_measurement_that_the_page_has_never_heard_of_is_shown_whole(reliant: Published) -> None:
    section = section_of("the well")
    html = render_html(reliant[0].model_copy(update={"sections": (section,)}), [], [])
    page = Page(html)
    for said in (section.answer, "(lower is worse)", "3.50", "2.25 to 4.75", "flagged", "0.0200", "withheld"):
        assert said in page.text
    data = embedded(html)[1]
    flagged, withheld = data["entries"]
    assert (flagged[4:7], flagged[7]) == ([0.01, 0.02, 1], [3.5, 2.25, 4.75, 30])
    assert (withheld[2], withheld[7][:4]) == (7, [None, None, None, 3])
    assert list(data["series"]["curve"].values()) == [[[0.5, [3.5, 2.25, 4.75, 30]]]]
    assert any(attributes.get("data-series") == "curve" for tag, attributes in page.elements if tag == "figure")


def test_a_section_without_figures_says_why(reliant: Published) -> None:
    empty = section_of("the well").model_copy(update={"entries": (), "series": (), "withheld": "It was dry."})
    text = Page(render_html(reliant[0].model_copy(update={"sections": (empty,)}), [], [])).text
    assert "It was dry." in text
    assert "Over all classes" not in text


def test_the_model_card_says_what_was_audited_what_was_found_and_what_it_cannot_say(reliant: Published) -> None:
    report = reliant[0]
    card = model_card(report)
    assert report.answer in card
    assert "Flagged classes: hen." in card
    for said in (report.classifier.file, report.dataset.id, report.bank.digest, report.audit, "95 % interval"):
        assert said in card
    assert all(markdown.escaped(sentence) in card for sentence in report.reservations)
    assert card in unescape(render_html(*reliant))


def test_a_row_of_the_model_card_says_whose_it_is_and_which_way_is_worse(reliant: Published) -> None:
    section = section_of("the well")
    level = Metric(name="level", title="Level", unit="energy", worse="neither", about="How full.")
    above = section.entries[0].model_copy(update={"metric": "level", "part": None})
    told = section.model_copy(update={"metrics": (level, *section.metrics), "entries": (above, *section.entries)})
    card = model_card(reliant[0].model_copy(update={"sections": (told,)}))
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert "Swap gap, the headline \\(higher is worse\\)" in card
    assert rows[-1].startswith("| the well: the well \\(lower is worse\\) | 3.50 |")
    assert not any("Level" in row for row in rows)
    listed = [line for line in card.splitlines() if line.startswith("- ")]
    assert "- Flagged classes: hen." in listed


def test_the_page_can_be_used_by_keyboard_and_read_aloud(reliant: Published) -> None:
    page = Page(render_html(*reliant))
    assert ("html", {"lang": "en"}) in page.elements
    assert all(attributes.get("alt") for tag, attributes in page.elements if tag == "img")
    plots = [a for tag, a in page.elements if tag == "svg"]
    assert plots
    assert all(a.get("role") == "img" and a.get("aria-label") for a in plots)
    scrolled = [a for _, a in page.elements if a.get("class") == "scroll"]
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in scrolled)
    assert any(a.get("href") == "#answer" for tag, a in page.elements if tag == "a")
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))


def test_a_page_of_a_thousand_classes_has_them_all_within_bounds() -> None:
    report, *_ = audit(world.looking_at(world.GREEN))
    many = [report.findings.classes[0].model_copy(update={"name": f"class {i}", "index": i}) for i in range(1000)]
    large = report.model_copy(update={"findings": report.findings.model_copy(update={"classes": many})})
    html = render_html(large, [], [])
    assert len(html) < 3_000_000
    assert "of 1,000 classes" in html
    assert len(embedded(html)[0]["classes"]) == 1000


def test_probabilities_of_examples_are_those_of_the_rows(reliant: Published) -> None:
    table = audit_shard(
        world.samples(40, 0), world.subjects(world.looking_at(world.GREEN), BANK), world.REQUEST, 10**6, lambda _: None
    )
    rows = {(r["sample"], r["variant"]): r["probability"] for r in table.to_pylist() if r["feature"] in (None, 1)}
    for example in reliant[1][0].examples:
        assert example.worst.clean == pytest.approx(rows[example.worst.sample, "clean"])
        assert example.worst.tested == pytest.approx(rows[example.worst.sample, "feature"])
        assert example.worst.control == pytest.approx(rows[example.worst.sample, "feature_control"])
        assert np.isfinite(example.worst.tested)
