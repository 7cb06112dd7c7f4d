"""The audit and the released evaluation, written again in a plain way, come to the same figures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from jobs import rows
from jobs.audit import audit_shard
from jobs.audit_request import AuditRequest
from jobs.audit_subjects import Subjects
from jobs.class_map import map_classes
from jobs.counts import Counts
from jobs.datasets import Sample
from models import architectures
from models.bank import WEIGHTS
from models.bank_writing import write_bank
from models.geometry import normalise
from tests.bench.released_evaluation import Outcome, Picture, evaluate
from tests.jobs import world
from tests.models.conftest import ARGUMENTS, CLASSES, PREPROCESSING, labelled, manifest, weights  # noqa: F401

SIDE = PREPROCESSING.resize or PREPROCESSING.size  # so that neither side resizes: Pillow and torch round differently


def pictures(count: int) -> list[Picture]:
    """Patches of colour, so that activations and predictions differ between pictures."""
    generator = np.random.default_rng(3)
    found = []
    for i in range(count):
        small = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(stream, "PNG")
        found.append(Picture(f"{i}.png", i % (len(CLASSES) - 1), stream.getvalue()))
    return found


def classifier() -> nn.Module:
    """A random network whose outputs are centred, so that it predicts every class now and then."""
    torch.manual_seed(9)
    network = architectures.build("small_resnet", len(CLASSES), ARGUMENTS).eval()
    with torch.no_grad():
        inputs = torch.rand(64, 3, 4, 4).repeat_interleave(24, 2).repeat_interleave(24, 3)
        logits = network(normalise(inputs, PREPROCESSING))
        network.fc.bias -= logits.mean(dim=0)
    return network


def test_both_count_the_same_outcomes(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    features = [
        labelled(c, 5 * c + k, k + 1, core=k < 2, valid_from=0.3) for c in range(len(CLASSES) - 1) for k in range(4)
    ]
    bank = write_bank(tmp_path / "tiny", manifest(features=tuple(features)), weights)
    network = classifier()
    backbone = architectures.build("small_resnet", len(CLASSES), ARGUMENTS).eval()
    backbone.load_state_dict(load_file(bank.path / WEIGHTS))

    @torch.no_grad()
    def predict(batch: np.ndarray) -> np.ndarray:
        return network(normalise(torch.from_numpy(batch), PREPROCESSING)).numpy()

    shown = pictures(48)
    samples = [Sample(i, p.sample, p.class_index, p.content) for i, p in enumerate(shown)]
    subjects = Subjects(
        bank=bank,
        backbone=bank.backbone(runtime="torch"),
        predict=predict,
        preprocessing=PREPROCESSING,
        classes=map_classes(bank, CLASSES, CLASSES),
        pictures=world.pictures([]),
        provider="torch-cpu",
    )
    request = AuditRequest(classifier="c", dataset="d", seed=4, batch_size=8)
    table = audit_shard(samples, subjects, request, 10**6, lambda done: None)

    plain = evaluate(shown, bank, backbone, network, PREPROCESSING, seed=4, batch_size=8)
    clean = {r["row"]: r["correct"] for r in table.to_pylist() if r["variant"] == rows.CLEAN}
    ours: dict[tuple[int, str, int], list[tuple[bool, bool]]] = {key: [] for key in plain}
    for r in table.to_pylist():
        if r["variant"] != rows.CLEAN:
            key = (r["class"], r["variant"], -1 if r["feature"] is None else r["feature"])
            ours[key].append((clean[r["row"]], r["correct"]))
    assert {
        key: Outcome(len(pairs), sum(c for c, _ in pairs), sum(n for _, n in pairs)) for key, pairs in ours.items()
    } == plain
    tested = sum(outcome.n for outcome in plain.values())
    changed = sum(abs(outcome.clean - outcome.noisy) for outcome in plain.values())
    assert tested > 200, "the comparison rests on enough variants"
    assert changed > 5, "noise changes some answers, so that agreement means something"

    counts = Counts.of(bank, [table])
    for c in range(len(CLASSES) - 1):
        of_set = counts.outcomes([counts.spurious(c)], "clean", "tested")
        expected = plain[c, rows.SPURIOUS, -1]
        assert (of_set.sum(), of_set[1].sum(), of_set[:, 1].sum()) == (expected.n, expected.clean, expected.noisy)
