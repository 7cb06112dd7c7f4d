"""Publishing a bank: the next version of its name, whole or not at all, and never another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from jobs import bank_publication
from jobs.bank_publication import publish_bank
from jobs.errors import Conflict, Invalid, Unavailable
from jobs.settings import Settings
from jobs.subjects import find_bank
from models.bank import WEIGHTS, Bank
from models.bank_card import Provenance, read_provenance
from models.bank_folders import find_banks
from models.bank_votes import VOTES, BankVotes, KeptAnswer, read_votes
from models.bank_writing import write_bank
from models.errors import BankError
from tests.models.conftest import labelled, manifest, weights

__all__ = ["weights"]

Publish = Callable[..., Bank]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def publish(settings: Settings, weights: Path) -> Publish:
    """Publishes the random bank, with changes to its manifest."""

    def published(parent: str | None = None, votes: BankVotes | None = None, **changes: object) -> Bank:
        files: dict[str, bytes | Path] = {WEIGHTS: weights}
        stated = manifest(**changes)
        return publish_bank(settings, stated, files, Provenance(threshold=3), votes=votes, parent=parent)

    return published


def test_the_first_publication_is_version_one_and_has_no_parent(publish: Publish, settings: Settings) -> None:
    first = publish()
    assert (first.manifest.version, first.manifest.parent) == (1, None)
    assert first.path == settings.banks_dir / "tiny"
    assert find_bank(settings, "tiny").digest == find_bank(settings, "tiny@1").digest == first.digest


def test_the_next_publication_answers_to_the_name_and_the_earlier_stays_addressable(
    publish: Publish, settings: Settings
) -> None:
    banks = [publish(title=f"number {number}") for number in (1, 2, 3)]
    assert find_bank(settings, "tiny").digest == banks[-1].digest
    for number, bank in enumerate(banks, start=1):
        assert bank.manifest.version == number
        assert bank.manifest.parent == (banks[number - 2].digest if number > 1 else None)
        assert find_bank(settings, f"tiny@{number}").manifest.title == f"number {number}"
        assert find_bank(settings, bank.digest).path == bank.path, "its folder is what was opened before"


def test_a_bank_written_before_there_were_versions_is_version_one(
    publish: Publish, settings: Settings, weights: Path
) -> None:
    old = write_bank(settings.banks_dir / "tiny", manifest(), weights)
    assert old.manifest.version is None
    second = publish(title="second")
    assert (second.manifest.version, second.manifest.parent) == (2, old.digest)
    assert find_bank(settings, "tiny@1").digest == find_bank(settings, old.digest).digest == old.digest


def test_a_built_in_bank_is_the_first_version_of_its_name(publish: Publish, settings: Settings) -> None:
    built_in = find_bank(settings, "planted").digest
    second = publish(name="planted")
    assert (second.manifest.version, second.manifest.parent) == (2, built_in)
    assert find_bank(settings, "planted").digest == second.digest
    assert find_bank(settings, "planted@1").digest == built_in


def test_a_caller_that_built_on_another_version_is_refused(publish: Publish) -> None:
    first = publish()
    publish(parent=first.digest, title="second")
    with pytest.raises(Conflict, match="no longer"):
        publish(parent=first.digest, title="third")
    with pytest.raises(Conflict, match="not there"):
        publish(parent=first.digest, name="fresh")


@pytest.mark.parametrize("before", [0, 1])
def test_of_many_publishers_at_once_one_wins_each_version(
    publish: Publish, settings: Settings, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    for number in range(before):
        publish(title=f"before {number}")
    together, original = Barrier(4), bank_publication.put_bank

    def all_at_once(*arguments: object) -> Bank:
        together.wait()
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bank_publication, "put_bank", all_at_once)
    won: list[Bank] = []
    refused: list[Conflict] = []

    def publisher(number: int) -> None:
        try:
            won.append(publish(title=f"publisher {number}"))
        except Conflict as error:
            refused.append(error)

    threads = [Thread(target=publisher, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 3)
    assert find_bank(settings, "tiny").digest == won[0].digest
    assert won[0].manifest.version == before + 1
    assert list(settings.banks_dir.glob(".bank-*")) == [], "the refused leave nothing"


def test_a_publisher_killed_at_any_step_leaves_the_old_version_or_the_new(
    publish: Publish, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()

    class Killed(BaseException):
        pass

    steps: list[str] = []

    def failing_after(number: int, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            assert ("rename" in steps) == (find_bank(settings, "tiny").digest != present)
            steps.append(name)
            if len(steps) > number:
                raise Killed
            return call(*arguments, **options)

        return wrapped

    for number in range(100):
        steps.clear()
        present = find_bank(settings, "tiny").digest
        with monkeypatch.context() as patched:
            for name in ("fsync", "open", "rename", "mkdir"):
                patched.setattr(os, name, failing_after(number, name, getattr(os, name)))
            try:
                second = publish(title="second")
            except Killed:
                continue
        break
    assert "rename" in steps
    assert number == len(steps)
    assert find_bank(settings, "tiny").digest == second.digest


def test_a_full_or_locked_banks_folder_is_said_so(settings: Settings, publish: Publish, tmp_path: Path) -> None:
    (tmp_path / "banks").write_text("a file is in its place")
    with pytest.raises(Unavailable, match="cannot be written"):
        publish()


def test_a_damaged_present_version_is_not_built_on(settings: Settings, publish: Publish) -> None:
    (publish().path / "manifest.json").write_text("{")
    with pytest.raises(Invalid, match="damaged"):
        publish()


def answers() -> BankVotes:
    """As many of each row as `labelled` counts."""
    return BankVotes(
        answers=tuple(
            KeptAnswer(
                class_index=feature.class_index,
                feature_index=feature.feature_index,
                annotator=f"annotator-{number}",
                kind=kind,
                confidence=4,
                reason="it is <b>there</b>",
                seconds=3.5,
            )
            for feature in manifest().features
            for number, kind in enumerate(
                kind for kind, count in feature.votes.model_dump().items() for _ in range(count)
            )
        )
    )


def test_the_answers_travel_with_the_bank(publish: Publish) -> None:
    bank = publish(votes=answers())
    assert VOTES in bank.manifest.files
    kept = read_votes(bank)
    assert kept is not None
    assert sorted(kept.answers, key=str) == sorted(answers().answers, key=str)
    found = read_provenance(bank.card)
    assert (found.annotators, found.answers, found.threshold) == (5, 5 * len(bank.manifest.features), 3)
    assert found.kappa is not None
    assert found.published is not None
    assert read_votes(publish(title="without")) is None


def test_answers_of_another_bank_are_refused(publish: Publish) -> None:
    with pytest.raises(BankError, match="does not belong"):
        publish(votes=answers(), features=(labelled(0, 0, 1, core=False),))
    assert "tiny" not in find_banks()
