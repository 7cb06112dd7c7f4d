"""`POST /v1/masks`: what is answered is what the models compute, in every form it can be asked for."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from jobs.pictures import read_picture
from models.backbone import Backbone, Features
from models.bank import Bank
from models.contributions import contributions
from models.geometry import Placement, carry, place, prepare, spread
from models.masks import Selection, nams, union
from service.options import MAX_CLASSES
from tests.conftest import test_data
from tests.service.conftest import encoded, picture, upload

Fields = dict[str, str | list[str]]


class Expected:
    """The answer for one picture, computed here from the models alone."""

    def __init__(self, bank: Bank, backbone: Backbone, content: bytes) -> None:
        pixels = read_picture(content).pixels
        self.bank, self.backbone = bank, backbone
        self.source = place(backbone.preprocessing, *pixels.shape[:2])
        self.whole = Placement.whole(*pixels.shape[:2])
        self.features: Features = backbone.forward(prepare(pixels, backbone.preprocessing)[None])
        self.predicted = int(self.features.logits.argmax())

    def mask(self, class_index: int, label: str, original: bool = False) -> np.ndarray:
        selection = Selection.of([self.bank.features(class_index)])
        target = self.whole if original else self.source
        up = carry(nams(selection.gather(self.features.maps)), [self.source], [target])
        return union(up, selection.core if label == "core" else selection.spurious)[0].numpy()

    def contributions(self, class_index: int, original: bool = False) -> dict[str, np.ndarray]:
        selection = Selection.of([self.bank.features(class_index)])
        classes = torch.tensor([class_index])
        split = contributions(self.features, self.backbone.weight, self.backbone.bias, classes, selection)
        parts = torch.stack([split.core, split.spurious, split.unlabelled], dim=1)
        laid = spread(parts, [self.source], [self.whole if original else self.source])[0].numpy()
        return dict(zip(("core", "spurious", "unlabelled"), laid, strict=True))


@pytest.fixture(scope="module")
def backbone(tiny_bank: Bank) -> Backbone:
    return tiny_bank.backbone(runtime="torch", threads=1)


def post(http: httpx.Client, *contents: bytes, accept: str = "application/json", **fields: Any) -> httpx.Response:
    return http.post("/v1/masks", files=upload(*contents), data=fields, headers={"Accept": accept})


def answer(http: httpx.Client, *contents: bytes, **fields: Any) -> dict[str, Any]:
    response = post(http, *contents, **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def levels(sent: dict[str, Any]) -> np.ndarray:
    """The values of a map that was sent as PNG in JSON."""
    with Image.open(io.BytesIO(base64.b64decode(sent["data"]))) as grey:
        assert grey.size == (sent["width"], sent["height"])
        return (np.asarray(grey).astype(np.float64) - sent["zero"]) * sent["scale"]


@pytest.mark.parametrize("shape", [(96, 96), (120, 200), (300, 110), (97, 98), (9, 9)])
@pytest.mark.parametrize("size", ["input", "original"])
def test_masks_are_those_of_the_models(
    http: httpx.Client, tiny_bank: Bank, backbone: Backbone, shape: tuple[int, int], size: str
) -> None:
    content = encoded(picture(*shape, seed=sum(shape)))
    expected = Expected(tiny_bank, backbone, content)
    (found,) = answer(http, content, size=size, classes="ant,bee")["pictures"]
    assert (found["height"], found["width"]) == shape
    for class_index, explained in enumerate(found["classes"]):
        for label in ("core", "spurious"):
            mask = levels(explained["masks"][label])
            assert mask.shape == (shape if size == "original" else (96, 96))
            assert np.abs(mask - expected.mask(class_index, label, size == "original")).max() <= 0.5 / 255 + 1e-5


def test_figures_are_those_of_the_models_and_add_up(http: httpx.Client, tiny_bank: Bank, backbone: Backbone) -> None:
    content = encoded(picture(130, 170))
    expected = Expected(tiny_bank, backbone, content)
    (found,) = answer(http, content, classes=["predicted", "dog"])["pictures"]
    probabilities = expected.features.logits.softmax(1)[0]
    assert found["prediction"]["index"] == expected.predicted
    assert found["prediction"]["probability"] == pytest.approx(float(probabilities.max()), rel=1e-5)
    for explained in found["classes"]:
        index = explained["index"]
        assert explained["name"] == tiny_bank.classes[index]
        assert explained["logit"] == pytest.approx(float(expected.features.logits[0, index]), rel=1e-4)
        assert explained["probability"] == pytest.approx(float(probabilities[index]), rel=1e-4)
        assert sum(explained["contributions"].values()) + explained["bias"] == pytest.approx(
            explained["logit"], rel=1e-4, abs=1e-5
        )
        assert [f["rank"] for f in explained["features"]] == [f.rank for f in tiny_bank.features(index)]
        for sent, feature in zip(explained["features"], tiny_bank.features(index), strict=True):
            activation = float(expected.features.phi[0, feature.feature_index])
            assert sent["activation"] == pytest.approx(activation, rel=1e-4, abs=1e-6)
            weight = float(backbone.weight[index, feature.feature_index])
            assert sent["contribution"] == pytest.approx(weight * activation, rel=1e-4, abs=1e-6)
            assert sent["valid"] is (activation >= feature.statistics.valid_from)
            assert sent["label"] == feature.label
            assert sent["kind"] == feature.kind
            assert sent["votes"] == feature.votes.model_dump()


@pytest.mark.parametrize("size", ["input", "original"])
def test_contribution_maps_sum_to_the_logit(http: httpx.Client, tiny_bank: Bank, backbone: Backbone, size: str) -> None:
    content = encoded(picture(120, 200))
    expected = Expected(tiny_bank, backbone, content).contributions(1, size == "original")
    fields: Fields = {"maps": "contributions", "classes": "bee", "size": size}
    (explained,) = answer(http, content, encoding="npz", **fields)["pictures"][0]["classes"]
    assert "masks" not in explained
    arrays = np.load(io.BytesIO(base64.b64decode(explained["npz"]["data"])), allow_pickle=False)
    total = 0.0
    for part, sent in explained["contribution_maps"].items():
        values = arrays[sent["array"]]
        assert values.dtype == np.float32
        assert values.shape == (sent["height"], sent["width"])
        np.testing.assert_allclose(values, expected[part], rtol=1e-3, atol=1e-7)
        total += float(values.sum(dtype=np.float64))
    assert total + explained["bias"] == pytest.approx(explained["logit"], rel=1e-4)

    (rough,) = answer(http, content, encoding="png", **fields)["pictures"][0]["classes"]
    for part, sent in rough["contribution_maps"].items():
        assert np.abs(levels(sent) - expected[part]).max() <= sent["scale"] / 2 * 1.01


def test_npz_masks_are_half_floats_and_run_lengths_cut_at_the_threshold(
    http: httpx.Client, tiny_bank: Bank, backbone: Backbone
) -> None:
    content = encoded(picture())
    expected = Expected(tiny_bank, backbone, content).mask(0, "core")
    (soft,) = answer(http, content, classes="0", encoding="npz")["pictures"][0]["classes"]
    arrays = np.load(io.BytesIO(base64.b64decode(soft["npz"]["data"])), allow_pickle=False)
    half = arrays[soft["masks"]["core"]["array"]]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, atol=1e-3)
    (cut,) = answer(http, content, classes="0", encoding="rle", threshold="0.25")["pictures"][0]["classes"]
    sent = cut["masks"]["core"]
    decoded = coco.decode({"size": [sent["height"], sent["width"]], "counts": sent["counts"].encode()})
    assert sent["threshold"] == 0.25
    unclear = np.abs(expected - 0.25) < 1e-5
    np.testing.assert_array_equal(decoded.astype(bool)[~unclear], (expected >= 0.25)[~unclear])


def test_features_asked_for_have_masks_of_their_own(http: httpx.Client, tiny_bank: Bank) -> None:
    own = [f.feature_index for f in tiny_bank.features(0)]
    (none,) = answer(http, encoded(picture()), classes="ant")["pictures"][0]["classes"]
    (some,) = answer(http, encoded(picture()), classes="ant", features=str(own[1]))["pictures"][0]["classes"]
    (every,) = answer(http, encoded(picture()), classes="ant", features="all")["pictures"][0]["classes"]
    assert not any("mask" in feature for feature in none["features"])
    assert [feature["feature"] for feature in some["features"] if "mask" in feature] == [own[1]]
    assert all("mask" in feature for feature in every["features"])
    core = np.max([levels(f["mask"]) for f in every["features"] if f["label"] == "core"], axis=0)
    np.testing.assert_array_equal(core, levels(every["masks"]["core"]))


def test_a_class_without_labels_has_figures_but_no_masks(http: httpx.Client) -> None:
    (explained,) = answer(http, encoded(picture()), classes="eel", maps="masks,contributions")["pictures"][0]["classes"]
    assert explained["labelled"] is False
    assert explained["features"] == []
    assert explained["masks"] == {}
    assert explained["contributions"]["core"] == explained["contributions"]["spurious"] == 0
    assert "unlabelled" in explained["contribution_maps"]


@pytest.mark.parametrize(
    ("classes", "count"),
    [("predicted", 1), ("top3", 3), ("top99", None), ("ant", 1), ("4", 1), ("ant,0,bee", 2), (["ant", "dog"], 2)],
)
def test_classes_are_chosen_by_rank_name_or_index(
    http: httpx.Client, classes: str | list[str], count: int | None
) -> None:
    response = post(http, encoded(picture()), classes=classes)
    if count is None:
        assert response.status_code == 422
        assert str(MAX_CLASSES) in response.json()["detail"]
    else:
        (found,) = response.json()["pictures"]
        assert len(found["classes"]) == count


def test_top_classes_come_in_the_order_of_their_logits_and_once(http: httpx.Client) -> None:
    (found,) = answer(http, encoded(picture()), classes=["top5", "ant"])["pictures"]
    logits = [explained["logit"] for explained in found["classes"]]
    assert logits == sorted(logits, reverse=True)
    assert len({explained["index"] for explained in found["classes"]}) == 5


def test_a_bank_is_chosen_by_name_or_digest(http: httpx.Client) -> None:
    content = encoded(picture())
    other = answer(http, content, bank="other", classes="ant")
    assert other["bank"]["name"] == "other"
    again = answer(http, content, bank=other["bank"]["digest"], classes="ant")
    assert again["pictures"] == other["pictures"]
    assert answer(http, content, classes="ant")["pictures"] != other["pictures"]


def test_a_zip_holds_the_same_as_the_json(http: httpx.Client) -> None:
    fields: Fields = {"maps": "masks,contributions", "features": "all", "classes": "top2"}
    contents = [encoded(picture(seed=seed)) for seed in range(3)]
    inline = answer(http, *contents, **fields)
    response = post(http, *contents, accept="application/zip", **fields)
    assert response.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        named = put_files_in(manifest, archive)
        assert sorted([*named, "manifest.json"]) == sorted(archive.namelist())
    assert manifest == inline


def put_files_in(node: Any, archive: zipfile.ZipFile) -> list[str]:
    """Turn every `file` below `node` into the `data` it stands for; returns the names."""
    names: list[str] = []
    if isinstance(node, dict):
        if "file" in node:
            names.append(node.pop("file"))
            node["data"] = base64.b64encode(archive.read(names[-1])).decode()
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            names += put_files_in(child, archive)
    return names


@pytest.mark.parametrize(
    ("accept", "status"),
    [("*/*", 200), ("application/*", 200), ("application/zip;q=0.5, application/json;q=0.1", 200), ("image/png", 406)],
)
def test_the_answer_is_what_the_client_accepts(http: httpx.Client, accept: str, status: int) -> None:
    response = post(http, encoded(picture()), accept=accept)
    assert response.status_code == status
    if status == 200:
        wanted = "application/zip" if "zip" in accept else "application/json"
        assert response.headers["Content-Type"] == wanted


def test_many_pictures_keep_their_order_and_need_not_be_alike(http: httpx.Client) -> None:
    shapes = [(40 + 7 * i, 200 - 11 * i) for i in range(13)]
    contents = [encoded(picture(*shape, seed=i)) for i, shape in enumerate(shapes)]
    together = answer(http, *contents, size="original", classes="ant")["pictures"]
    assert [(found["height"], found["width"]) for found in together] == shapes
    assert [found["picture"] for found in together] == list(range(13))
    for i in (0, 7, 12):
        (alone,) = answer(http, contents[i], size="original", classes="ant")["pictures"]
        difference = levels(alone["classes"][0]["masks"]["core"]) - levels(together[i]["classes"][0]["masks"]["core"])
        assert np.abs(difference).max() <= 1 / 255 + 1e-9


def test_requests_that_differ_in_everything_share_batches_unharmed(http: httpx.Client) -> None:
    wishes: list[Fields] = [
        {"classes": "ant", "encoding": "png"},
        {"classes": "top4", "encoding": "npz", "maps": "masks,contributions"},
        {"classes": "bee,dog", "encoding": "rle", "threshold": "0.9"},
        {"classes": "cat", "size": "original", "features": "all"},
        {"classes": "eel", "bank": "other", "maps": "contributions"},
        {"classes": "ant", "bank": "other"},
    ]
    content = encoded(picture(110, 150))
    alone = [answer(http, content, **fields) for fields in wishes]
    with ThreadPoolExecutor(12) as clients:
        together = list(clients.map(lambda fields: answer(http, content, **fields), wishes * 4))
    for i, found in enumerate(together):
        assert close(found, alone[i % len(wishes)])


def close(found: Any, expected: Any) -> bool:
    """Equal up to the rounding of figures that batches of another size bring."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            close(found[key], value) for key, value in expected.items() if key not in ("data", "counts", "scale")
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, rel=1e-3, abs=1e-5))
    return bool(found == expected)


def test_the_answer_fits_the_published_schema(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/MasksAnswer", "components": document["components"]}
    for fields in ({"maps": "masks,contributions", "features": "all"}, {"encoding": "npz"}, {"encoding": "rle"}):
        found = answer(http, encoded(picture()), b"no picture", classes="top5", **fields)
        jsonschema.validate(found, schema)


def test_real_photographs_are_answered(http: httpx.Client) -> None:
    with zipfile.ZipFile(test_data("imagenet-samples.zip")) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")][:24]
        contents = [archive.read(name) for name in names]
    found = answer(http, *contents, size="original", classes="top1")["pictures"]
    assert len(found) == 24
    assert not [one for one in found if "problem" in one]
