"""`jupyter pico doctor` for a working and for a broken installation."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import msgspec
import pytest

from pico_jupyter.cli.doctor import MKL_REMEDY, _blas, _decode_speed, diagnose
from pico_jupyter.engine.backends.probe import Speed
from pico_jupyter.model_kernel.blas import find_blas
from pico_jupyter.types import EngineOptions


def test_every_part_of_the_installation_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(EngineOptions()) == 0
    report = capsys.readouterr().out
    for finding in (
        r"ok    python +3\.",
        r"ok    package +mlx-lm \d",
        r"(ok|note) +device +Device",
        r"ok    memory +[\d.]+ GB",
        r"ok    extension +pico_jupyter is enabled",
        r"ok    models +.*pico-tiny",
    ):
        assert re.search(f"^{finding}", report, re.MULTILINE), finding


@pytest.mark.skipif(sys.platform != "linux", reason="mlx needs help on Linux only")
def test_the_blas_of_the_model_kernel_is_measured_with_and_without_a_preloaded_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = find_blas(os.environ)[0]
    assert diagnose(EngineOptions()) == 0
    report = capsys.readouterr().out
    assert re.search(rf"ok    blas +[\d.]+ GFLOP/s in float32 with {library}, preloaded .* threads: \d", report)
    assert re.search(r"without it: [\d.]+ GFLOP/s in float32, [\d.]+ in bfloat16; .*openblas = False", report)
    assert re.search(r"decode +decoding reads weights at [\d.]+ GB/s, one thread reads memory at [\d.]+ GB/s", report)
    assert "float32_on_cpu = False" in report


@pytest.mark.skipif(sys.platform != "linux", reason="mlx needs help on Linux only")
def test_a_disabled_setting_is_reported_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(EngineOptions(float32_on_cpu=False), openblas=False) == 0
    report = capsys.readouterr().out
    assert "preloading is switched off" in report
    assert "c.PicoJupyter.openblas = True" in report
    assert "c.PicoJupyter.float32_on_cpu = True" in report


@pytest.mark.skipif(sys.platform != "linux", reason="mlx needs help on Linux only")
def test_a_blas_that_the_user_preloads_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = find_blas(os.environ)[0]
    monkeypatch.setenv("LD_PRELOAD", str(library))
    assert diagnose(EngineOptions()) == 0
    assert re.search(
        rf"ok    blas .*{library.name}.*: [\d.]+ GFLOP/s .* set by your LD_PRELOAD", capsys.readouterr().out
    )


@pytest.mark.skipif(sys.platform != "linux", reason="mlx needs help on Linux only")
def test_without_an_openblas_the_remedy_is_its_package() -> None:
    finding, _ = _blas((), is_enabled=True)
    assert finding.grade == "note"
    assert re.search(r"libblas.*: [\d.]+ GFLOP/s in float32.*no BLAS to preload was found", finding.text)
    assert "apt install libopenblas0-pthread" in finding.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="mlx needs help on Linux only")
def test_a_library_that_cannot_be_preloaded_is_reported(tmp_path: Path) -> None:
    broken = tmp_path / "libopenblas.so.0"
    broken.write_bytes(b"no library")
    finding, _ = _blas((broken,), is_enabled=True)
    assert finding.grade == "note"
    assert finding.text == f"{broken} cannot be preloaded"


SLOW = Speed("Device(cpu, 0)", (), 70.0, 2.0, decode=4.0, memory=12.0)


def test_mkl_is_suggested_if_decoding_is_much_slower_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    finding = _decode_speed(SLOW, can_improve=True)
    assert (finding.grade, finding.remedy) == ("note", MKL_REMEDY)
    assert _decode_speed(SLOW, can_improve=False).remedy == ""
    fast = msgspec.structs.replace(SLOW, decode=11.0)
    assert _decode_speed(fast, can_improve=True).grade == "ok"


def test_mkl_is_not_suggested_for_processors_that_it_does_not_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert _decode_speed(SLOW, can_improve=True).remedy == ""


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
    assert f"{broken}: config.json cannot be read" in capsys.readouterr().out


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
