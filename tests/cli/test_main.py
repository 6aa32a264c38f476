"""`jupyter pico` without a running server."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pico_jupyter.cli import main
from pico_jupyter.cli.main import _parse, _parser


@pytest.fixture(autouse=True)
def _no_running_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("PICO_JUPYTER_URL", raising=False)
    monkeypatch.delenv("PICO_JUPYTER_MODEL_PATH", raising=False)


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_list_shows_the_built_in_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split() == ["NAME", "SIZE", "WEIGHTS", "PARAMETERS", "CAPABILITIES", "SOURCE"]
    assert any(row.startswith("pico-tiny ") and row.endswith("builtin") for row in rows)


def test_list_shows_models_of_the_configured_folders(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of_pico_tiny(tmp_path / "models" / "some-org" / "my-model")
    (tmp_path / "config").mkdir()
    config = f"c.PicoJupyter.model_dirs = [{str(tmp_path / 'models')!r}]"
    (tmp_path / "config" / "jupyter_server_config.py").write_text(config)
    assert main(["list"]) == 0
    assert "my-model" in capsys.readouterr().out


def test_show_prints_the_properties_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "PICO-TINY:latest"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["name"] == "pico-tiny"
    assert facts["family"] == "qwen3"
    assert facts["reasoning"] == "switchable, on by default"


def test_show_of_an_unknown_model_prints_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "absent"]) == 1
    assert capsys.readouterr().err == "error: model 'absent' not found\n"


def test_run_separates_reasoning_from_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pico-tiny", "What is", "12 + 35?", "--temperature", "0"]) == 0
    thinking, _, answer = capsys.readouterr().out.partition("</think>")
    assert thinking.startswith("<think>")
    assert "47" in answer


def test_run_without_reasoning_prints_the_answer_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pico-tiny", "What is 12 + 35?", "--think", "off", "--max-tokens", "40"]) == 0
    answer = capsys.readouterr().out
    assert "<think>" not in answer
    assert answer.strip()


def test_a_prompt_may_come_through_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 12 + 35?\n"))
    assert main(["run", "pico-tiny"]) == 0
    assert "47" in capsys.readouterr().out


def test_run_of_an_unknown_model_prints_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "absent", "hello"]) == 1
    assert capsys.readouterr() == ("", "error: model 'absent' not found\n")


def test_a_missing_image_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pico-tiny", "what is this?", "--image", "nowhere.png"]) == 1
    assert capsys.readouterr() == ("", "error: cannot read 'nowhere.png': No such file or directory\n")


def test_a_file_decides_the_format_of_the_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["yes", "no"]}')
    assert main(["run", "pico-tiny", "Is 5 a prime?", "--think", "off", "--format", str(schema)]) == 0
    assert capsys.readouterr().out.strip() in ('"yes"', '"no"')


@pytest.mark.parametrize("text", [None, "{"])
def test_a_format_that_is_no_schema_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None
) -> None:
    schema = tmp_path / "schema.json"
    if text is not None:
        schema.write_text(text)
    assert main(["run", "pico-tiny", "hi", "--format", str(schema)]) == 1
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith(f"error: --format {schema}: ")
    assert error.count("\n") == 1


def test_images_videos_and_words_of_the_prompt_may_be_mixed() -> None:
    options = _parse(_parser(), ["run", "m", "--image", "a", "what", "--video", "b", "is", "--image", "c", "this?"])
    assert options.files == [("image", "a"), ("video", "b"), ("image", "c")]
    assert options.prompt == ["what", "is", "this?"]


@pytest.mark.parametrize("arguments", [["run", "m", "hi", "--loud"], ["list", "more"]])
def test_an_unknown_argument_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"unrecognized arguments: {arguments[-1]}" in capsys.readouterr().err


def test_ps_without_a_server_prints_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps"]) == 0
    assert "no Jupyter server" in capsys.readouterr().out


def copy_of_pico_tiny(folder: Path) -> None:
    """Copy the built-in model to `folder`."""
    source = Path(__file__).parents[2] / "pico_jupyter" / "builtin" / "pico-tiny"
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


def test_search_without_words_prints_the_recommended_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search"]) == 0
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split() == ["NAME", "SIZE", "WEIGHTS", "PARAMETERS", "CAPABILITIES", "LICENSE"]
    assert rows[0].startswith("mlx-community/")


def test_a_name_that_is_no_repository_is_not_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "a/b/c"]) == 1
    assert "error: invalid model name" in capsys.readouterr().err


def test_a_built_in_model_is_not_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "pico-tiny"]) == 1
    assert capsys.readouterr().err == "error: pico-tiny is part of pico_jupyter and cannot be deleted\n"
