"""The report: what it says, that it is complete and equal for equal inputs, and the page made of it."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from jobs.audit import audit_shard
from jobs.classification import Predict
from jobs.classifiers import ClassifierRecord
from jobs.counts import Counts
from jobs.datasets import DatasetRecord, Sample
from jobs.examples import Exhibit, SwapExhibit, Viewer, exhibits, spotlight, swap_exhibits
from jobs.figures import Figure
from jobs.reduction import find
from jobs.report import Report, make_report, schema
from jobs.report_page import render_html
from jobs.trial import Trial
from models.bank import Bank
from models.classifiers.spec import ClassifierSpec
from tests.jobs import world

ROOT = Path(__file__).resolve().parents[2]
BANK = world.bank()


def record(name: str = "barn birds", classes: tuple[str, ...] = ("hen", "owl")) -> ClassifierRecord:
    trial = Trial(
        provider="CPUExecutionProvider",
        network_isolated=True,
        fixed_batch=None,
        seconds_to_open=1,
        seconds_per_picture=1,
        warnings=[],
    )
    spec = ClassifierSpec(format="onnx", classes=classes, preprocessing=world.PREPROCESSING, name=name, version="7")
    return ClassifierRecord(id="c" * 64, spec=spec, blob="b" * 64, bytes=1, trial=trial, created=datetime.now(UTC))


def dataset(pictures: int) -> DatasetRecord:
    return DatasetRecord(
        id="d" * 64,
        name="farm",
        format="zip",
        blob="d" * 64,
        bytes=1,
        pictures=pictures,
        classes=["hen", "owl"],
        class_pictures=[0, 0],
        skipped_counts={},
        skipped=[],
        warnings=[],
        created=datetime.now(UTC),
    )


Published = tuple[Report, list[Exhibit], list[SwapExhibit]]


def audit(predict: Predict, hens: int = 40, name: str = "barn birds", bank: Bank = BANK) -> Published:
    """Of hens with cues and half as many owls; in `BANK` owls have none, and so nobody swaps."""
    items = world.samples(hens, hens // 2, owls_cue=bank is not BANK)
    items.append(Sample(len(items), "hen/<b>torn</b>.png", 0, b"no picture"))
    subjects = world.subjects(predict, bank, dataset=items)
    table = audit_shard(items, subjects, world.REQUEST, 10**6, lambda done: None)
    counts = Counts.of(bank, [table])
    findings = find(counts, bank, world.REQUEST.seed)
    report = make_report("a" * 32, "1.0+0", world.REQUEST, record(name), dataset(len(items)), bank, counts, findings)
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
    """Elements of a page: tags with attributes, and the text outside <style>."""

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
        if self._tag != "style":
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
    assert not tags & {"script", "link", "iframe", "object", "embed", "base"}
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/jpeg", "#")), value
    assert "url(" not in html
    assert "@import" not in html


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


def test_names_from_users_are_escaped() -> None:
    report, shown, swapped = audit(world.looking_at(world.GREEN), name="<script>alert(1)</script>")
    html = render_html(report, shown, swapped)
    assert "<script" not in html
    assert "<b>torn" not in html
    assert "&lt;script&gt;" in html


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


def test_a_bank_of_a_thousand_classes_gives_a_page_of_bounded_size() -> None:
    report, *_ = audit(world.looking_at(world.GREEN))
    many = [report.findings.classes[0].model_copy(update={"name": f"class {i}", "index": i}) for i in range(1000)]
    large = report.model_copy(update={"findings": report.findings.model_copy(update={"classes": many})})
    html = render_html(large, [], [])
    assert len(html) < 1_000_000
    assert "of 1,000 classes" in html


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
