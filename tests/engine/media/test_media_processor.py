"""Processors of models turn text and media into tokens and arrays, without PyTorch and without code from a folder."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoConfig

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.media.media_processor import PROCESSOR_FAILURES, FrameSampling, MediaProcessor, load_processor
from pico_jupyter.engine.media.video import DecodedVideo
from pico_jupyter.engine.preparation.preparation import Preparation
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed
from pico_jupyter.types import EngineOptions, GenerationRequest
from tests.engine.vision_bench import RED, Bench, chat
from tests.engine.vision_models import FAMILIES, TAKES_VIDEO
from tests.fakes.backend import ListSink


def changed(folder: Path, files: dict[str, dict[str, Any] | None]) -> Path:
    """Update the objects in a model's JSON files; None removes a file."""
    for name, content in files.items():
        path = folder / name
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(json.dumps({**before, **content}), encoding="utf-8")
    return folder


def of_another_family(source: Path, folder: Path, family: str, processor: str, image_processor: str) -> Path:
    """A folder whose files name the classes of another family."""
    shutil.copytree(source, folder)
    changed(folder, {"preprocessor_config.json": None, "processor_config.json": None})
    preprocessor = {
        "image_processor_type": image_processor,
        "processor_class": processor,
        "size": {"height": 32, "width": 32},
        "patch_size": 8,
    }
    files: dict[str, dict[str, Any] | None] = {
        "config.json": {"model_type": family},
        "preprocessor_config.json": preprocessor,
        "processor_config.json": {"processor_class": processor},
    }
    return changed(folder, files)


@pytest.mark.parametrize(
    ("family", "processor", "image_processor"),
    [
        ("cohere2_vision", "Cohere2VisionProcessor", "Cohere2VisionImageProcessorFast"),
        ("qwen3_omni_moe", "Qwen3OmniMoeProcessor", "Qwen2VLImageProcessor"),
    ],
)
def test_the_error_of_a_processor_that_needs_torch_says_how_to_install_it(
    benches: dict[str, Bench], tmp_path: Path, family: str, processor: str, image_processor: str
) -> None:
    folder = of_another_family(benches["gemma3"].folder, tmp_path / family, family, processor, image_processor)
    with pytest.raises(ModelLoadFailed, match="pip install torch torchvision"):
        load_processor(folder)


def test_a_request_for_a_model_that_needs_torch_gets_that_error(benches: dict[str, Bench], tmp_path: Path) -> None:
    classes = ("cohere2_vision", "Cohere2VisionProcessor", "Cohere2VisionImageProcessorFast")
    of_another_family(benches["gemma3"].folder, tmp_path / "needy", *classes)
    options = EngineOptions(model_dirs=(str(tmp_path),))
    preparation = Preparation(
        Catalog(options, environ={}, hub_cache=None),
        options,
        new_seed=lambda: 1,
        new_call_id=lambda: "call_1",
        clock=lambda: 0.0,
    )
    request = GenerationRequest(id="r", model="needy", prompt=chat(RED, "Which?"))
    with pytest.raises(ModelLoadFailed, match="pip install torch torchvision"):
        preparation.prepare(request, ListSink(), 0.0)
    with pytest.raises(ModelLoadFailed, match="pip install torch torchvision"):
        preparation.prepare_load("needy", None, ListSink())


def test_a_folder_without_an_image_processor_is_refused(benches: dict[str, Bench], tmp_path: Path) -> None:
    folder = shutil.copytree(benches["gemma3"].folder, tmp_path / "blind")
    files = {"preprocessor_config.json": None, "processor_config.json": None}
    with pytest.raises(ModelLoadFailed):
        load_processor(changed(folder, {**files, "config.json": {"model_type": "llava_bunny"}}))


def test_an_unknown_family_is_refused(benches: dict[str, Bench], tmp_path: Path) -> None:
    folder = shutil.copytree(benches["gemma3"].folder, tmp_path / "strange")
    with pytest.raises(ModelLoadFailed, match="cannot be loaded"):
        load_processor(changed(folder, {"config.json": {"model_type": "no_such_family"}}))


CREATES_A_FILE = """
from pathlib import Path
Path(__file__).with_name("executed").touch()
Path({mark!r}).touch()
class Foreign: ...
"""


@pytest.mark.parametrize("family", ["gemma3", "llava", "qwen3_vl", "smolvlm"])
def test_code_in_a_folder_is_not_executed(
    benches: dict[str, Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = shutil.copytree(benches[family].folder, tmp_path / "hostile"), tmp_path / "executed"
    (folder / "foreign.py").write_text(CREATES_A_FILE.format(mark=str(mark)), encoding="utf-8")
    names = ("AutoProcessor", "AutoImageProcessor", "AutoVideoProcessor", "AutoConfig")
    auto_map: dict[str, Any] = dict.fromkeys(names, "foreign.Foreign")
    files: dict[str, dict[str, Any] | None] = {
        name: {"auto_map": auto_map}
        for name in ("config.json", "preprocessor_config.json", "processor_config.json")
        if (folder / name).exists()
    }
    files["tokenizer_config.json"] = {"auto_map": {**auto_map, "AutoTokenizer": ["foreign.Foreign", None]}}
    with suppress(ModelLoadFailed):  # an error is correct, too
        load_processor(changed(folder, files))
    assert not mark.exists()
    with suppress(AttributeError):  # Foreign is no configuration
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert mark.exists(), "a loader that trusts the folder executes it"


# Text and media in, tokens and arrays out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_text_and_image_give_the_same_tokens_and_arrays(benches: dict[str, Bench], family: str) -> None:
    processor, text = benches[family].processor, f"A {benches[family].tokenizer.content_format.image_placeholder} B"
    one, two = (processor.process(text, [Image.new("RGB", (48, 40), "red")], []) for _ in range(2))
    assert one.tokens == two.tokens
    assert all(isinstance(token, int) for token in one.tokens)
    assert np.array_equal(first_array(one.inputs["pixel_values"]), first_array(two.inputs["pixel_values"]))
    assert not {"input_ids", "attention_mask"} & one.inputs.keys()


def first_array(pixels: Any) -> Any:
    found = pixels[0] if isinstance(pixels, list) else pixels
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_number_of_placeholders_raises_no_foreign_error(benches: dict[str, Bench], family: str) -> None:
    processor, placeholder = benches[family].processor, benches[family].tokenizer.content_format.image_placeholder
    red = Image.new("RGB", (48, 40), "red")
    for placeholders, images in ((2, 1), (1, 2), (0, 1)):
        with suppress(InvalidRequest):
            assert processor.process(f"A{placeholder * placeholders} B", [red] * images, []).tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_a_processor_has_placeholders_and_their_tokens(benches: dict[str, Bench], family: str) -> None:
    processor, tokenizer = benches[family].processor, benches[family].tokenizer
    (image,) = tokenizer.encode(processor.placeholder("image"), add_special_tokens=False)[-1:]
    assert image in processor.image_ids
    assert bool(processor.video_ids) is (family in TAKES_VIDEO)
    assert not processor.image_ids & processor.video_ids
    assert repr(processor).startswith("<MediaProcessor ")


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_a_video_becomes_video_tokens(benches: dict[str, Bench], family: str) -> None:
    processor, placeholder = benches[family].processor, benches[family].tokenizer.content_format.video_placeholder
    frames = np.zeros((4, 40, 48, 3), np.uint8)
    made = processor.process(f"A {placeholder} B", [], [DecodedVideo(frames, (0, 1, 2, 3), 4.0, 4, 1.0)])
    assert processor.video_ids & {*made.tokens}
    assert isinstance(made.inputs["pixel_values_videos"], np.ndarray)


class Raising:
    """A processor that raises an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, **_: Any) -> dict[str, Any]:
        raise self._error


@pytest.mark.parametrize("kind", PROCESSOR_FAILURES)
def test_any_error_of_a_processor_is_an_invalid_request(kind: type[Exception]) -> None:
    processor = MediaProcessor(Raising(kind("odd")), image_ids=frozenset(), video_ids=frozenset())
    with pytest.raises(InvalidRequest, match="the model's processor cannot process the prompt") as caught:
        processor.process("text", [Image.new("RGB", (8, 8))], [])
    assert caught.value.param == "messages"


class Picky:
    """Rejects the tokenizer's keywords, as the processor of llava does."""

    def __call__(self, text: list[str], images: list[Image.Image]) -> dict[str, Any]:
        return {"input_ids": np.array([[1, 2, 3]]), "attention_mask": np.ones((1, 3)), "nothing": None}


def test_keywords_that_a_processor_rejects_are_omitted() -> None:
    processor = MediaProcessor(Picky(), image_ids=frozenset(), video_ids=frozenset())
    made = processor.process("text", [Image.new("RGB", (8, 8))], [])
    assert (made.tokens, made.inputs) == ([1, 2, 3], {})


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (None, FrameSampling()),
        (SimpleNamespace(), FrameSampling()),
        (SimpleNamespace(min_frames=4, max_frames=64), FrameSampling(maximum=64)),
        (SimpleNamespace(min_frames=8, max_frames=8), FrameSampling(count=8, maximum=8)),
    ],
)
def test_a_processor_defines_the_number_of_frames(component: Any, expected: FrameSampling) -> None:
    hf = SimpleNamespace(video_processor=component)
    assert MediaProcessor(hf, image_ids=frozenset(), video_ids=frozenset()).frame_sampling == expected
