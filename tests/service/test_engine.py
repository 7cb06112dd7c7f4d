"""The engine alone: what breaks one picture breaks no other, and what is not loaded is loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from jobs.settings import Settings
from models.backbone import Backbone, Features
from models.bank import Bank
from service.engine import Engine, PictureTask
from service.options import MaskOptions, read_options
from tests.service.conftest import encoded, picture


def wish(bank: Bank) -> MaskOptions:
    return read_options(
        bank,
        classes=["predicted"],
        features=[],
        maps=["masks"],
        size="input",
        encoding="png",
        threshold=0.5,
        inline=True,
    )


def tasks(bank: Bank, count: int) -> list[PictureTask]:
    return [PictureTask(encoded(picture(seed=i)), i, None, wish(bank)) for i in range(count)]


@pytest.fixture
def engine(banks_dir: Path, tmp_path: Path) -> Engine:
    settings = Settings(
        data_dir=tmp_path, banks_dir=banks_dir, default_bank="tiny", device="cpu", runtime="torch", threads=1
    )
    return Engine(settings)


def test_a_picture_that_breaks_the_network_fails_alone(
    engine: Engine, tiny_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tasks(tiny_bank, 7)
    _, backbone = engine.load("tiny")
    poison = engine._prepare(wanted[4], backbone.preprocessing)
    forward = Backbone.forward

    def failing(self: Backbone, pictures: Tensor) -> Features:
        if any(torch.equal(one, poison.pixels) for one in pictures):  # type: ignore[union-attr]
            raise RuntimeError("out of luck")
        return forward(self, pictures)

    monkeypatch.setattr(Backbone, "forward", failing)
    answers = engine.answer(wanted)
    assert [answer.problem is not None for answer in answers] == [i == 4 for i in range(7)]
    problem = answers[4].problem
    assert problem is not None
    assert problem.status == 500
    assert "luck" not in problem.detail, "the inside stays inside"


def test_memory_that_runs_out_for_a_batch_is_enough_for_its_halves(
    engine: Engine, tiny_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Backbone.forward

    def short_of_memory(self: Backbone, pictures: Tensor) -> Features:
        if len(pictures) > 2:
            raise torch.OutOfMemoryError
        return forward(self, pictures)

    monkeypatch.setattr(Backbone, "forward", short_of_memory)
    answers = engine.answer(tasks(tiny_bank, 8))
    assert not [answer for answer in answers if answer.problem]


def test_an_answer_does_not_depend_on_its_neighbours(engine: Engine, tiny_bank: Bank) -> None:
    wanted = tasks(tiny_bank, 5)
    for together, task in zip(engine.answer(wanted), wanted, strict=True):
        (alone,) = engine.answer([task])
        assert len(together.document) == pytest.approx(len(alone.document), abs=40)


def test_a_bank_that_vanished_fails_its_own_pictures_alone(engine: Engine, tiny_bank: Bank) -> None:
    first, second = tasks(tiny_bank, 2)
    gone = MaskOptions(**{**vars(second.options), "bank": "sha256:" + "0" * 64})
    answers = engine.answer([first, PictureTask(second.content, 1, None, gone)])
    assert answers[0].problem is None
    assert answers[1].problem is not None
    assert answers[1].problem.kind == "unknown-bank"


def test_networks_are_loaded_once_and_only_so_many_kept(
    engine: Engine, tiny_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = Bank.backbone

    def counting(self: Bank, **options: object) -> Backbone:
        loaded.append(self.name)
        return load(self, **options)

    monkeypatch.setattr(Bank, "backbone", counting)
    for name in ("tiny", "other", "tiny", tiny_bank.digest):
        engine.load(name)
    assert loaded == ["tiny", "other"]
    assert engine.loaded == ["other", "tiny"]
    monkeypatch.setattr("service.engine.BANKS_KEPT", 1)
    engine.load("other")
    assert engine.loaded == ["other"]
