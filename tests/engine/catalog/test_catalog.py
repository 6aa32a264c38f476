"""The catalog finds models in all sources and by all their names, and logs why it skips a folder."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import EngineOptions, ModelInfo
from tests.engine.model_folders import write_hub_model, write_model, write_safetensors


def catalog(*folders: Path, hub: Path | None = None, preferred_org: str = "mlx-community") -> Catalog:
    options = EngineOptions(model_dirs=tuple(map(str, folders)), preferred_org=preferred_org)
    return Catalog(options, environ={}, hub_cache=hub, builtin_dir=Path("/nowhere"))


def names(found: Catalog) -> list[str]:
    return [info.name for info in found.models()]


def test_the_built_in_model_is_always_listed() -> None:
    (info,) = [
        info for info in Catalog(EngineOptions(), environ={}, hub_cache=None).models() if info.name == "pico-tiny"
    ]
    assert info.source == "builtin"
    assert info.repo == ""
    assert info.family == "qwen3"
    assert info.capabilities[:2] == ("completion", "thinking")
    assert info.reasoning_switch
    assert info.reasoning_default
    assert info.parameters.temperature == 0.0
    assert 1_000_000 < info.parameter_count < 10_000_000


@pytest.mark.parametrize("generic_tools", [True, False])
@pytest.mark.parametrize(("template", "is_chat"), [("{{ messages }}", True), ("", False)])
def test_chat_models_have_tools_if_the_settings_accept_them_for_all(
    tmp_path: Path, template: str, is_chat: bool, generic_tools: bool
) -> None:
    write_model(tmp_path / "alone", files={"chat_template.jinja": template})
    options = EngineOptions(model_dirs=(str(tmp_path),), generic_tools=generic_tools)
    (info,) = Catalog(options, environ={}, hub_cache=None, builtin_dir=tmp_path / "none").models()
    assert ("tools" in info.capabilities) is (is_chat and generic_tools)


def test_folders_contain_models_with_and_without_an_organization(tmp_path: Path) -> None:
    write_model(tmp_path / "alone")
    write_model(tmp_path / "org" / "inner")
    alone, inner = catalog(tmp_path).models()
    assert (alone.name, alone.repo, alone.source) == ("alone", "", "folder")
    assert (inner.name, inner.repo, inner.path) == ("inner", "org/inner", str(tmp_path / "org" / "inner"))


def test_a_model_folder_may_itself_be_a_model(tmp_path: Path) -> None:
    assert names(catalog(write_model(tmp_path / "alone"))) == ["alone"]


def test_the_environment_names_more_folders(tmp_path: Path) -> None:
    write_model(tmp_path / "a" / "one")
    write_model(tmp_path / "b" / "two")
    environ = {"PICO_JUPYTER_MODEL_PATH": os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")])}
    found = Catalog(EngineOptions(), environ=environ, hub_cache=None, builtin_dir=tmp_path / "none")
    assert names(found) == ["one", "two"]
    assert repr(found) == "<Catalog [2 models | 2 model folders]>"


def test_the_hub_cache_lists_the_revision_of_main(tmp_path: Path) -> None:
    write_hub_model(tmp_path, "org/name", "old", hidden_size=4)
    snapshot = write_hub_model(tmp_path, "org/name", "new", hidden_size=8)
    (info,) = catalog(hub=tmp_path).models()
    assert (info.name, info.repo, info.source) == ("name", "org/name", "hub")
    assert info.path == str(snapshot)
    assert info.embedding_length == 8


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors"])
def test_an_incomplete_download_is_skipped_without_a_warning(
    tmp_path: Path, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    (write_hub_model(tmp_path, "org/name") / gone).resolve().unlink()
    assert names(catalog(hub=tmp_path)) == []
    assert caplog.records == []


def test_a_snapshot_without_all_weight_files_is_skipped(tmp_path: Path) -> None:
    index = '{"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}'
    snapshot = write_hub_model(tmp_path, "org/name", files={"model.safetensors.index.json": index})
    assert names(catalog(hub=tmp_path)) == []
    shutil.copy(snapshot / "model.safetensors", snapshot / "model-00002.safetensors")
    assert names(catalog(hub=tmp_path)) == ["name"]


def test_other_entries_of_the_hub_cache_are_skipped_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_hub_model(tmp_path, "org/embedding", files={"modules.json": "[]"}, model_type="nomic_bert")
    write_hub_model(tmp_path, "org/bert", architectures=["BertForMaskedLM"])
    write_hub_model(tmp_path, "org/whisper", architectures=["WhisperForConditionalGeneration"], is_encoder_decoder=True)
    (tmp_path / "datasets--org--data" / "refs").mkdir(parents=True)
    (tmp_path / ".locks").mkdir()
    assert names(catalog(hub=tmp_path)) == []
    assert caplog.records == []


@pytest.mark.parametrize(
    "spelling",
    [
        "Name-4bit",
        "name-4BIT",
        "name-4bit:latest",
        "org/Name-4bit",
        "ORG/name-4bit:latest",
        "hf.co/org/name-4bit",
        "huggingface.co/Org/Name-4bit",
        " name-4bit ",
    ],
)
def test_a_model_is_found_by_every_spelling_of_its_name(tmp_path: Path, spelling: str) -> None:
    write_model(tmp_path / "Org" / "Name-4bit")
    write_model(tmp_path / "other")
    assert catalog(tmp_path).find(spelling).name == "Name-4bit"


@pytest.mark.parametrize("name", ["absent", "other/name", "name:4b", "org/name:q4_0"])
def test_an_unknown_name_is_not_found(tmp_path: Path, name: str) -> None:
    write_model(tmp_path / "org" / "name")
    with pytest.raises(ModelNotFound) as caught:
        catalog(tmp_path).find(name)
    assert caught.value.model == name
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "..", "a/..", "/a", "a/", "a b", "a\0", "~", "a\\b", "C:/x/y"])
def test_a_malformed_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid model name") as caught:
        catalog(tmp_path).find(name)
    assert caught.value.param == "model"
    assert caught.value.http_status == 400


def test_the_preferred_organization_gets_the_short_name(tmp_path: Path) -> None:
    write_model(tmp_path / "aaa" / "name")
    write_model(tmp_path / "MLX-community" / "name")
    found = catalog(tmp_path)
    assert [(info.name, info.repo) for info in found.models()] == [
        ("aaa/name", "aaa/name"),
        ("name", "MLX-community/name"),
    ]
    assert found.find("NAME").repo == "MLX-community/name"
    assert found.find("aaa/name").repo == "aaa/name"
    assert found.find("mlx-community/name").repo == "MLX-community/name"


def test_without_a_preferred_organization_the_first_gets_the_short_name(tmp_path: Path) -> None:
    write_model(tmp_path / "bbb" / "Name")
    write_model(tmp_path / "aaa" / "name")
    assert [info.name for info in catalog(tmp_path).models()] == ["name", "bbb/Name"]


def test_a_folder_without_an_organization_gets_the_short_name(tmp_path: Path) -> None:
    write_model(tmp_path / "name")
    write_model(tmp_path / "mlx-community" / "name")
    found = catalog(tmp_path)
    assert sorted(names(found)) == ["mlx-community/name", "name"]
    assert found.find("name").repo == ""


def test_every_listed_name_finds_its_model(tmp_path: Path) -> None:
    for org in ("aaa", "mlx-community", "zzz"):
        write_model(tmp_path / org / "name")
    write_model(tmp_path / "zzz" / "only")
    found = catalog(tmp_path)
    assert [found.find(info.name) for info in found.models()] == list(found.models())


def test_a_repository_in_a_folder_precedes_the_same_one_in_the_hub_cache(tmp_path: Path) -> None:
    write_model(tmp_path / "folder" / "org" / "name")
    write_hub_model(tmp_path / "hub", "org/name")
    (info,) = catalog(tmp_path / "folder", hub=tmp_path / "hub").models()
    assert info.source == "folder"


def test_a_broken_folder_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_model(tmp_path / "good")
    broken = write_model(tmp_path / "broken")
    (broken / "config.json").write_text("{not json")
    found = catalog(tmp_path)
    assert names(found) == ["good"]
    assert names(found) == ["good"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "pico_jupyter"
    assert record.getMessage().startswith(f"skipping {broken}: config.json cannot be read")


def test_a_broken_folder_is_logged_again_for_another_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = write_model(tmp_path / "broken", model_type=None)
    found = catalog(tmp_path)
    found.models()
    (broken / "model.safetensors").unlink()
    write_model(broken).joinpath("model.safetensors").unlink()
    found.models()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "config.json has no model_type",
        "there are no *.safetensors files",
    ]


def test_a_missing_model_folder_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert names(catalog(tmp_path / "none")) == []
    assert "the model folder does not exist" in caplog.text


def test_weights_without_a_config_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "half").mkdir()
    write_safetensors(tmp_path / "half" / "model.safetensors", {})
    assert names(catalog(tmp_path)) == []
    assert "config.json is missing" in caplog.text


def test_a_folder_with_an_invalid_name_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_model(tmp_path / "my model")
    assert names(catalog(tmp_path)) == []
    assert "its name has characters other than" in caplog.text


def test_a_model_of_another_kind_in_a_folder_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_model(tmp_path / "bert", architectures=["BertForMaskedLM"])
    assert names(catalog(tmp_path)) == []
    assert "not a language model (BertForMaskedLM)" in caplog.text


def test_a_new_model_is_found_and_a_removed_one_is_not(tmp_path: Path) -> None:
    first = write_model(tmp_path / "first")
    found = catalog(tmp_path)
    assert names(found) == ["first"]
    write_model(tmp_path / "second")
    assert found.find("second").name == "second"
    shutil.rmtree(first)
    assert names(found) == ["second"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    write_model(tmp_path / "name", max_position_embeddings=100)
    assert found.find("name").context_length == 100
    write_model(tmp_path / "name", max_position_embeddings=20_000)
    assert found.find("name").context_length == 20_000


def test_a_removed_model_is_not_found_by_its_name(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "name")
    found = catalog(tmp_path)
    assert found.find("name").path == str(folder)
    shutil.rmtree(folder)
    with pytest.raises(ModelNotFound):
        found.find("name")


def test_a_new_revision_in_the_hub_cache_is_found(tmp_path: Path) -> None:
    write_hub_model(tmp_path, "org/name", "old")
    found = catalog(hub=tmp_path)
    assert Path(found.find("name").path).name == "old"
    write_hub_model(tmp_path, "org/name", "new")
    assert Path(found.find("name").path).name == "new"


def test_a_known_model_is_found_without_listing_the_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A listing logs the broken folder."""
    write_model(tmp_path / "name")
    found = catalog(tmp_path)
    found.find("name")
    write_model(tmp_path / "broken", model_type=None)
    found.find("name")
    assert caplog.records == []
    found.models()
    assert len(caplog.records) == 1


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path) -> None:
    """The same object is returned, so its files were not parsed again."""
    write_model(tmp_path / "name")
    found = catalog(tmp_path)
    before: ModelInfo = found.find("name")
    assert found.find("name") is before


DEEP = "{% if 1 %}" * 3000 + "{% endif %}" * 3000


@pytest.mark.parametrize("template", ["{{ 1 // 0 }}", DEEP, "{{ 'a' * 3000000000 }}"])
def test_a_broken_template_hides_no_other_model(tmp_path: Path, template: str) -> None:
    write_model(tmp_path / "broken", template=template)
    write_model(tmp_path / "good")
    assert "good" in names(catalog(tmp_path))


def test_an_unforeseen_error_in_one_folder_hides_no_other_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = '{"added_tokens": [' + '{"a":' * 5000 + "1" + "}" * 5000 + "]}"
    write_model(tmp_path / "deep", files={"tokenizer.json": deep})
    write_model(tmp_path / "good")
    assert names(catalog(tmp_path)) == ["good"]
    assert caplog.messages == [f"skipping {tmp_path / 'deep'}: cannot be read (RecursionError)"]


def reasons(found: Catalog) -> dict[str, str]:
    return {skipped.name: skipped.reason for skipped in found.skipped()}


@pytest.mark.parametrize("folder", [".lmstudio/models", ".cache/lm-studio/models"])
def test_the_models_of_lm_studio_are_listed(tmp_path: Path, folder: str) -> None:
    write_model(tmp_path / folder / "mlx-community" / "name")
    found = Catalog(EngineOptions(), environ={"HOME": str(tmp_path)}, hub_cache=None, builtin_dir=tmp_path / "none")
    (info,) = found.models()
    assert (info.name, info.repo, info.source) == ("name", "mlx-community/name", "folder")


def test_gguf_models_of_lm_studio_are_skipped_with_what_to_do_and_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / ".lmstudio/models/bartowski/Qwen3-4B-GGUF"
    folder.mkdir(parents=True)
    (folder / "Qwen3-4B-Q4_K_M.gguf").write_bytes(b"GGUF")
    found = Catalog(EngineOptions(), environ={"HOME": str(tmp_path)}, hub_cache=None, builtin_dir=tmp_path / "none")
    assert names(found) == []
    assert reasons(found)["bartowski/Qwen3-4B-GGUF"].endswith('run "jupyter pico search Qwen3-4B"')
    assert caplog.records == []


def test_each_skipped_folder_has_its_reason_until_it_is_mended_or_removed(tmp_path: Path) -> None:
    write_model(tmp_path / "good")
    broken = write_model(tmp_path / "broken", model_type=None)
    (tmp_path / "half").mkdir()
    write_safetensors(tmp_path / "half" / "model.safetensors", {})
    found = catalog(tmp_path)
    assert reasons(found) == {"broken": "config.json has no model_type", "half": "config.json is missing"}
    write_model(broken)
    shutil.rmtree(tmp_path / "half")
    assert reasons(found) == {}


def test_a_missing_model_folder_is_skipped_until_it_exists(tmp_path: Path) -> None:
    found = catalog(tmp_path / "later")
    assert reasons(found) == {"later": "the model folder does not exist"}
    write_model(tmp_path / "later" / "name")
    assert reasons(found) == {}
    assert names(found) == ["name"]


def test_an_incomplete_download_is_skipped_with_its_reason(tmp_path: Path) -> None:
    snapshot = write_hub_model(tmp_path, "org/name")
    (snapshot / "model.safetensors").unlink()
    found = catalog(hub=tmp_path)
    assert names(found) == []
    assert reasons(found) == {"org/name": "the download is incomplete"}
