"""Settings come from the environment, are documented, and can be handed on."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.settings import PREFIX, Settings, markdown
from tests.conftest import ROOT


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == markdown(), "run `python -m jobs.settings > docs/settings.md`"


def test_every_setting_is_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"`{PREFIX}{name.upper()}`" in markdown()


def test_places_follow_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.store_url == f"file://{tmp_path}/store"
    assert settings.banks_dir == tmp_path / "banks"


def test_the_environment_sets_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUECHECK_PORT", "9000")
    assert Settings().port == 9000
    assert Settings(port=9001).port == 9001


def test_settings_survive_the_way_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, threads=2, compile=True, max_archive_ratio=7.5)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError, match="port"):
        Settings(port=80)
    with pytest.raises(ValidationError, match="device"):
        Settings(device="tpu")  # type: ignore[arg-type]
