"""`jupyter pico doctor` on a well and on a broken installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from pico_jupyter.cli.doctor import diagnose
from pico_jupyter.types import EngineOptions


def test_every_part_of_the_installation_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(EngineOptions()) == 0
    report = capsys.readouterr().out
    for subject in ("python", "mlx-lm", "device", "memory", "pico_jupyter is enabled", "pico-tiny"):
        assert subject in report


def test_a_missing_model_folder_is_a_problem_with_a_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert diagnose(EngineOptions(model_dirs=(str(missing),))) == 1
    report = capsys.readouterr().out
    assert f"{missing} is not a folder" in report
    assert "-> create it" in report


def test_a_broken_model_is_named_with_its_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    (broken / "model.safetensors").write_bytes(b"")
    assert diagnose(EngineOptions(model_dirs=(str(tmp_path),))) == 0
    assert str(broken) in capsys.readouterr().out


def test_a_disabled_extension_is_a_problem_with_a_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    (folder / "zz.json").write_text('{"ServerApp": {"jpserver_extensions": {"pico_jupyter": false}}}')
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert diagnose(EngineOptions()) == 1
    assert "jupyter server extension enable pico_jupyter" in capsys.readouterr().out
