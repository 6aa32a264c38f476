"""`jupyter pico doctor MODEL` for models that work, and for models with one fault each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pico_jupyter.cli import main
from pico_jupyter.cli.model_doctor import diagnose_model
from pico_jupyter.types import EngineOptions
from tests.cli.test_main import copy_of_pico_tiny
from tests.engine.embedding_models import write_bert

MESSAGES = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
CONVERSATIONS = (
    "plain",
    "system",
    "turns",
    "two users",
    "parts",
    "tools",
    "call",
    "two calls",
    "foreign id",
    "reasoned",
    "on",
    "off",
)

Diagnose: TypeAlias = Callable[[str], tuple[int, dict[str, str]]]


@pytest.fixture
def diagnose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Diagnose:
    """Diagnoses pico-tiny with another chat template. Returns the exit status, and the findings by their subjects."""

    def diagnose_template(template: str) -> tuple[int, dict[str, str]]:
        copy_of_pico_tiny(tmp_path / "changed")
        (tmp_path / "changed" / "chat_template.jinja").write_text(template)
        status = diagnose_model(str(tmp_path / "changed"), EngineOptions())
        return status, findings(capsys.readouterr().out)

    return diagnose_template


def findings(report: str) -> dict[str, str]:
    """Each finding with its grade, by its subject."""
    lines = [line for line in report.splitlines() if line[:4] in ("ok  ", "note", "FAIL")]
    return {line[6:17].strip(): f"{line[:4].strip()} {line[17:]}" for line in lines}


def test_all_twelve_conversations_of_a_good_model_are_rendered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "pico-tiny"]) == 0
    report = capsys.readouterr().out
    found = findings(report)
    assert [found[name].split()[0] for name in CONVERSATIONS] == ["ok"] * 12
    assert [found[name].split()[2].strip(",") for name in CONVERSATIONS] == ["tokens"] * 12
    assert report.endswith("no problems found\n")


def test_the_facts_about_a_model_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "pico-tiny"])
    found = findings(capsys.readouterr().out)
    assert found["model"].startswith("ok pico-tiny, qwen3, 1.4M parameters in bf16, 2.9 MB")
    assert found["context"] == "ok 4096 tokens"
    assert found["can do"] == "ok completion, thinking, tools"
    assert found["reasoning"] == (
        "ok from '<think>' to '</think>'; on by default; on with enable_thinking=True, off with enable_thinking=False"
    )
    assert found["calls"] == "ok are read as: JSON in tags, JSON alone, JSON in a code block"
    assert "mlx-lm" in found["versions"]
    assert "the budget is" in found["memory"]


def test_what_the_switch_changes_in_the_prompt_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "pico-tiny"])
    assert findings(capsys.readouterr().out)["switch"] == r"ok on writes '', off writes '<think>\n\n</think>\n\n'"


def test_an_image_is_a_part_of_a_message_to_a_vision_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "pico-tiny-vl"]) == 0
    report = capsys.readouterr().out
    assert "<|vision_start|>" in findings(report)["markers"]
    assert findings(report)["calls"].startswith("ok JSON in tags; the template prints no tools")


def test_a_template_error_is_reported_with_its_conversation(diagnose: Diagnose) -> None:
    status, found = diagnose("{% if messages|length == 3 %}{{ raise_exception('Too long') }}{% endif %}" + MESSAGES)
    assert status == 1
    assert found["turns"] == "FAIL chat template error: Too long"
    assert found["plain"].startswith("ok")


def test_text_that_the_template_leaves_out_is_reported(diagnose: Diagnose) -> None:
    status, found = diagnose("{{ messages[0].role }}: {{ messages[0].content }}")
    assert status == 1
    assert found["turns"] == "FAIL the template leaves out qzjsecond, qzjthird"


def test_a_template_that_names_tools_but_prints_none_is_noted(diagnose: Diagnose) -> None:
    status, found = diagnose("{% if tools %}You have tools.\n{% endif %}" + MESSAGES)
    assert status == 0
    assert found["tools"].startswith("ok")
    assert found["calls"].startswith("note JSON in tags; the template prints no tools")


def test_tools_that_the_settings_refuse_are_not_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_of_pico_tiny(tmp_path / "changed")
    (tmp_path / "changed" / "chat_template.jinja").write_text(MESSAGES)
    assert diagnose_model(str(tmp_path / "changed"), EngineOptions(generic_tools=False)) == 0
    assert findings(capsys.readouterr().out)["tools"] == "ok not rendered: the model has no tools"


def test_a_switch_that_changes_nothing_is_a_problem(diagnose: Diagnose) -> None:
    """The template fails for short messages, so the catalog assumes that the switch works."""
    short = "{% if messages[0].content == 'Hello' %}{{ raise_exception('too short') }}{% endif %}"
    status, found = diagnose(short + "{% if enable_thinking %}{% endif %}" + MESSAGES)
    assert status == 1
    assert found["switch"] == "FAIL the prompts with reasoning on and off are the same"


def test_a_marker_that_the_vocabulary_does_not_have_is_noted(diagnose: Diagnose) -> None:
    _, found = diagnose("<|im_start|>" + MESSAGES + "<|im_finish|>")
    assert found["markers"] == "note not one token of the vocabulary: <|im_finish|>"


def test_a_model_without_a_template_is_a_problem(diagnose: Diagnose) -> None:
    status, found = diagnose("")
    assert status == 1
    assert found["template"].startswith("FAIL the model has no template")


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_of_pico_tiny(tmp_path / "models" / "cut")
    index = {"weight_map": {"model.embed_tokens.weight": "model-00002-of-00002.safetensors"}}
    (tmp_path / "models" / "cut" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert diagnose_model("cut", EngineOptions(model_dirs=(str(tmp_path / "models"),))) == 1
    assert findings(capsys.readouterr().out)["model"] == "FAIL model-00002-of-00002.safetensors is missing"


def test_a_tokenizer_that_cannot_be_loaded_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_of_pico_tiny(tmp_path / "cut")
    (tmp_path / "cut" / "tokenizer.json").write_text("{}")
    assert diagnose_model(str(tmp_path / "cut"), EngineOptions()) == 1
    assert findings(capsys.readouterr().out)["tokenizer"].startswith("FAIL the tokenizer cannot be loaded")


def test_a_model_that_never_fits_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose_model("pico-tiny", EngineOptions(memory_budget=1000)) == 1
    assert findings(capsys.readouterr().out)["memory"].startswith("FAIL needs")


def test_the_weights_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_of_pico_tiny(tmp_path / "zeros")
    weights = tmp_path / "zeros" / "model.safetensors"
    size = weights.stat().st_size
    header_size = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    with weights.open("r+b") as file:
        file.truncate(header_size)
        file.truncate(size)
    assert diagnose_model(str(tmp_path / "zeros"), EngineOptions()) == 0
    assert "no problems found" in capsys.readouterr().out


def test_an_unknown_model_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "absent"]) == 1
    assert capsys.readouterr().err == "error: model 'absent' not found\n"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (None, "the folder is empty"),
        ("notes.txt", "the folder holds no model"),
        ("model-Q4.gguf", "the folder has only GGUF files, which are not supported"),
    ],
)
def test_a_folder_without_a_model_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str | None, reason: str
) -> None:
    if file:
        (tmp_path / file).touch()
    assert main(["doctor", str(tmp_path)]) == 1
    report = capsys.readouterr().out
    assert findings(report)["model"] == f"FAIL {reason}"
    assert "-> choose a folder with config.json" in report


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("model-Q4.gguf", "GGUF files are not supported"),
        ("config.json", "it is a file; the doctor needs the model's folder"),
    ],
)
def test_a_file_is_not_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, reason: str) -> None:
    (tmp_path / file).touch()
    assert main(["doctor", str(tmp_path / file)]) == 1
    report = capsys.readouterr().out
    assert findings(report)["model"] == f"FAIL {reason}"
    assert "-> choose a folder with config.json" in report


@pytest.mark.parametrize("name", ["two words", "/no/such/folder", "../x", "~no_such_user/x", "x" * 5000 + "/", "a\0b"])
def test_a_name_that_no_model_can_have_is_a_problem(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["doctor", name]) == 1
    report = capsys.readouterr().out
    assert findings(report)["model"] == "FAIL there is no such folder, and no model has such a name"
    assert '-> run "jupyter pico list"' in report


def test_values_of_the_generation_config_that_are_ignored_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_of_pico_tiny(tmp_path / "odd")
    (tmp_path / "odd" / "generation_config.json").write_text('{"top_k": 1e300}')
    assert main(["doctor", str(tmp_path / "odd")]) == 0
    assert findings(capsys.readouterr().out)["settings"].startswith(
        "note generation_config.json: top_k must be a whole"
    )


@pytest.mark.parametrize("name", ["two words", "a:b", "a: b"])
def test_a_folder_name_that_the_catalog_refuses_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    copy_of_pico_tiny(tmp_path / name)
    assert main(["doctor", str(tmp_path / name)]) == 1
    report = capsys.readouterr().out
    assert findings(report)["model"].startswith("FAIL its name has characters other than letters")
    assert "-> rename the folder" in report


def test_a_copy_with_the_name_of_the_built_in_model_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_of_pico_tiny(tmp_path / "pico-tiny")
    (tmp_path / "pico-tiny" / "chat_template.jinja").write_text("{% if %}")
    assert main(["doctor", str(tmp_path / "pico-tiny")]) == 1
    assert findings(capsys.readouterr().out)["model"].startswith("FAIL the chat template cannot be parsed")


@pytest.mark.parametrize("model_type", ["nosuchmodel", "../../x"])
def test_a_model_type_that_mlx_lm_does_not_have_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model_type: str
) -> None:
    copy_of_pico_tiny(tmp_path / "new")
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    (tmp_path / "new" / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    assert main(["doctor", str(tmp_path / "new")]) == 1
    report = capsys.readouterr().out
    assert f"does not support the model_type '{model_type}'" in report
    assert "-> upgrade mlx-lm and mlx-vlm, or choose another model" in report


def test_the_facts_about_an_embedding_model_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose_model(str(write_bert(tmp_path / "bert")), EngineOptions()) == 0
    found = findings(capsys.readouterr().out)
    assert found["can do"] == "ok embedding"
    assert found["vectors"] == "ok 16 numbers for each text"
    assert found["tokenizer"] == "ok 19 tokens"
    assert "template" not in found


def test_a_broken_tokenizer_of_an_embedding_model_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bert(tmp_path / "bert")
    (folder / "tokenizer.json").write_text("{}")
    assert diagnose_model(str(folder), EngineOptions()) == 1
    assert findings(capsys.readouterr().out)["tokenizer"].startswith("FAIL the tokenizer cannot be loaded")
