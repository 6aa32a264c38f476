"""`jupyter pico doctor MODEL`: renders twelve conversations with a model's chat template, and reports problems.

It loads the tokenizer of the model but not its weights. The report contains no text from users.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil

from pico_jupyter.cli.doctor import Finding, WarningCollector, print_findings
from pico_jupyter.cli.doctor_conversations import SampleConversation, sample_conversations
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.media.media_processor import load_processor
from pico_jupyter.engine.memory.device import device_capacity
from pico_jupyter.engine.preparation.media_preparation import MEDIA_KINDS, MediaPreparation
from pico_jupyter.engine.preparation.prompt import RenderedPrompt, render_prompt
from pico_jupyter.engine.text.embedding_tokenizer import load_embedding_tokenizer
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import InvalidRequest, ModelNotFound, PicoError
from pico_jupyter.sizes import about, at_least, at_most, parameter_count
from pico_jupyter.types import EngineOptions, GenerationRequest, ModelInfo

VERSIONS = ("pico-jupyter", "mlx", "mlx-lm", "mlx-vlm", "transformers", "tokenizers")
# The form of most markers that templates write. Each is one token of a complete vocabulary.
MARKER = re.compile(r"<[|｜][\w▁.:/-]+[|｜]>|\[/?[A-Z_]{3,}\]")
WORD = re.compile(r"\w+|\W")
DIGEST_LENGTH = 12
DIFFERENCE_LENGTH = 80
DOWNLOAD_AGAIN = "download the model's files again; one of them may be missing or of another version"
RENAME = "rename the folder"
UPGRADE = "upgrade mlx-lm and mlx-vlm, or choose another model"
CORRECT_FILE = "correct the file, or download it again"
CHOOSE_NAME = 'run "jupyter pico list" for the names, or give the path of a folder'
CHOOSE_FOLDER = "choose a folder with config.json, *.safetensors and tokenizer files, such as those of mlx-community"

# By a part of the catalog's reason. All other reasons have the remedy DOWNLOAD_AGAIN.
REMEDIES = {"its name has characters": RENAME, "does not support the model_type": UPGRADE, "GGUF": CHOOSE_FOLDER}


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A conversation, and its tokenized prompt with the prompt's text, or the error of the preparation."""

    conversation: SampleConversation
    prompt: RenderedPrompt | None = None
    text: str = ""
    error: str = ""


def diagnose_model(name: str, options: EngineOptions) -> int:
    """Print all findings about a model. `name` is its name or the path of its folder.

    Returns 1 if there is a problem, else 0. Raises ModelNotFound for an unknown name.
    """
    return print_findings([*_findings(name, options)])


def _findings(name: str, options: EngineOptions) -> Iterator[Finding]:
    versions = ", ".join(f"{package} {version(package)}" for package in VERSIONS)
    yield Finding("ok", "versions", f"{versions}, Python {platform.python_version()}, {platform.platform()}")
    try:
        info = _find(name, options)
    except _UnusableModel as error:
        yield Finding("problem", "model", str(error), error.remedy)
        return
    yield from _facts(info)
    if "embedding" in info.capabilities:
        yield _memory_need(info, options)
        yield _embedding_tokenizer(info)
        return
    yield _template(info)
    yield _memory_need(info, options)
    media = None
    try:
        tokenizer = load_tokenizer(Path(info.path))
        if "vision" in info.capabilities:
            media = MediaPreparation(load_processor(Path(info.path)), tokenizer, options)
    except PicoError as error:
        yield Finding("problem", "tokenizer", error.message, DOWNLOAD_AGAIN)
        return
    yield from _formats(info, tokenizer)
    if tokenizer.has_template:
        yield from _check_renderings(info, tokenizer, media)


class _UnusableModel(Exception):
    """The folder of the model cannot be used; the message gives the reason."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy or next((known for part, known in REMEDIES.items() if part in reason), DOWNLOAD_AGAIN)


def _find(name: str, options: EngineOptions) -> ModelInfo:
    """Find a model by its name or by its folder. Raises PicoError, and _UnusableModel for a broken folder."""
    warnings = WarningCollector()
    log = logging.getLogger("pico_jupyter")
    log.addHandler(warnings)
    path = Path(os.path.expanduser(name))
    try:
        # These functions of os.path return False for a path that the system refuses.
        if os.path.isdir(path):
            return _find_folder(path.resolve(), options, warnings)
        return Catalog(options).find(name)
    except (InvalidRequest, ModelNotFound) as error:
        if os.path.isfile(path):
            is_gguf = path.suffix.lower() == ".gguf"
            reason = "GGUF files are not supported" if is_gguf else "it is a file; the doctor needs the model's folder"
            raise _UnusableModel(reason, CHOOSE_FOLDER) from None
        if isinstance(error, InvalidRequest):
            raise _UnusableModel("there is no such folder, and no model has such a name", CHOOSE_NAME) from None
        last = path.name.partition(":")[0].lower()
        for message in warnings.messages:
            folder_name, _, reason = message.removeprefix("skipping ").partition(": ")
            if Path(folder_name).name.lower() == last:
                raise _UnusableModel(reason) from None
        raise
    finally:
        log.removeHandler(warnings)


def _find_folder(folder: Path, options: EngineOptions, warnings: WarningCollector) -> ModelInfo:
    """Read the model in `folder`. Its name may be one that the catalog does not list. Raises _UnusableModel."""
    options = msgspec.structs.replace(options, model_dirs=(str(folder),))
    catalog = Catalog(options, environ={}, hub_cache=None, builtin_dir=folder / "none")
    for info in catalog.models():
        if info.path == str(folder):
            return info
    for message in warnings.messages:
        start = f"skipping {folder}: "
        if message.startswith(start):
            reason = message.removeprefix(start)
            raise _UnusableModel(reason)
    if any(folder.glob("*.gguf")):
        raise _UnusableModel("the folder has only GGUF files, which are not supported", CHOOSE_FOLDER)
    is_empty = next(folder.iterdir(), None) is None
    raise _UnusableModel("the folder is empty" if is_empty else "the folder holds no model", CHOOSE_FOLDER)


def _facts(info: ModelInfo) -> Iterator[Finding]:
    size = f"{parameter_count(info.parameter_count)} parameters in {info.quantization}, {about(info.size)}"
    yield Finding("ok", "model", f"{info.name}, {info.family}, {size}, digest {info.digest[:DIGEST_LENGTH]}")
    yield Finding("ok", "context", f"{info.context_length} tokens")
    yield Finding("ok", "can do", ", ".join(info.capabilities))
    for reason in info.ignored:
        yield Finding("note", "settings", reason, CORRECT_FILE)
    if "embedding" in info.capabilities:
        yield Finding("ok", "vectors", f"{info.embedding_length} numbers for each text")


def _template(info: ModelInfo) -> Finding:
    if not info.template:
        return Finding("problem", "template", "the model has no template and accepts only raw prompts", DOWNLOAD_AGAIN)
    digest = hashlib.sha256(info.template.encode()).hexdigest()[:DIGEST_LENGTH]
    return Finding("ok", "template", f"{len(info.template)} characters, SHA-256 {digest}")


def _embedding_tokenizer(info: ModelInfo) -> Finding:
    try:
        tokenizer = load_embedding_tokenizer(Path(info.path))
    except PicoError as error:
        return Finding("problem", "tokenizer", error.message, DOWNLOAD_AGAIN)
    return Finding("ok", "tokenizer", f"{tokenizer.vocab_size} tokens")


def _memory_need(info: ModelInfo, options: EngineOptions) -> Finding:
    capacity = device_capacity(options)
    need = capacity.need(info, capacity.budget)
    text = f"needs {at_least(need.size)} and more for each conversation; the budget is {at_most(capacity.budget)}"
    if need.fit == "never":
        remedy = "choose a smaller or more strongly quantised model, or raise c.PicoJupyter.memory_budget"
        return Finding("problem", "memory", text, remedy)
    available = psutil.virtual_memory().available
    if need.size > available:
        return Finding("note", "memory", f"{text}, of which {at_most(available)} are free", "close other programs")
    return Finding("ok", "memory", text)


def _formats(info: ModelInfo, tokenizer: Tokenizer) -> Iterator[Finding]:
    yield _reasoning_format(info, tokenizer.output_format)
    yield _calls(info, tokenizer)
    yield from _content(info, tokenizer)
    if not tokenizer.eos_token_ids:
        yield Finding(
            "problem", "end token", "the model has no end token, so answers end only at their limit", DOWNLOAD_AGAIN
        )


def _calls(info: ModelInfo, tokenizer: Tokenizer) -> Finding:
    if "tools" not in info.capabilities:
        return Finding("ok", "calls", "none")
    if tokenizer.history_format.tools is None:
        text = "JSON in tags; the template prints no tools, so the system message describes them"
        is_named = re.search(r"\btools\b", info.template)
        return Finding("note" if is_named else "ok", "calls", text + (", although it names some" if is_named else ""))
    titles = ", ".join(call.title for call in tokenizer.output_format.calls) or "messages with a recipient"
    return Finding("ok", "calls", f"are read as: {titles}")


def _reasoning_format(info: ModelInfo, output_format: OutputFormat) -> Finding:
    switch = info.reasoning_switch
    if switch is None:
        return Finding("ok", "reasoning", "none")
    texts = [f"from {output_format.reasoning_open!r} to {output_format.reasoning_close!r}"]
    if switch.off is None:
        texts.append("always on")
    else:
        on, off = (_assignments(values) for values in (switch.on, switch.off))
        texts.append(f"{'on' if info.reasoning_default else 'off'} by default")
        texts.append(f"on with {switch.system_on or on or 'nothing'}, off with {switch.system_off or off or 'nothing'}")
    if switch.efforts:
        texts.append(f"{switch.effort_variable}: {', '.join(switch.efforts)}")
    return Finding("ok", "reasoning", "; ".join(texts))


def _assignments(variables: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in variables.items())


def _content(info: ModelInfo, tokenizer: Tokenizer) -> Iterator[Finding]:
    if not tokenizer.has_template:
        return
    content = tokenizer.content_format
    parts = [kind for kind in MEDIA_KINDS if content.placeholder(kind)]
    forms = "strings" if content.accepts_strings else "lists of parts" if content.accepts_parts else "not found out"
    yield Finding("ok", "content", ", ".join([forms, *parts]))


def _check_renderings(info: ModelInfo, tokenizer: Tokenizer, media: MediaPreparation | None) -> Iterator[Finding]:
    conversations = sample_conversations(info)
    renderings = {
        conversation.name: _render(conversation, info, tokenizer, media)
        for conversation in conversations
        if not conversation.needs or conversation.needs in info.capabilities
    }
    for conversation in conversations:
        if conversation.name in renderings:
            yield _check_words(renderings[conversation.name])
        else:
            yield Finding("ok", conversation.name, f"not rendered: the model has no {conversation.needs}")
    yield from _check_switch(info, renderings.get("on"), renderings.get("off"))
    yield from _check_tokens(tokenizer, [*renderings.values()])


def _render(
    conversation: SampleConversation, info: ModelInfo, tokenizer: Tokenizer, media: MediaPreparation | None
) -> _Rendering:
    request = GenerationRequest("doctor", info.name, conversation.prompt, reasoning=conversation.reasoning)
    try:
        prompt = render_prompt(request, info, tokenizer, media)
    except PicoError as error:
        return _Rendering(conversation, error=error.message)
    data = b"".join(tokenizer.token_bytes(token) for token in prompt.tokens if token >= 0)
    return _Rendering(conversation, prompt, data.decode("utf-8", "replace"))


def _check_words(rendering: _Rendering) -> Finding:
    conversation = rendering.conversation
    if rendering.prompt is None:
        return Finding("problem", conversation.name, rendering.error)
    missing = [word for word in conversation.words if word not in rendering.text]
    if missing:
        return Finding("problem", conversation.name, f"the template leaves out {', '.join(missing)}")
    text = f"{len(rendering.prompt.tokens)} tokens"
    if conversation.optional:
        text += f", past reasoning is {'kept' if conversation.optional in rendering.text else 'left out'}"
    return Finding("ok", conversation.name, text)


def _check_switch(info: ModelInfo, on: _Rendering | None, off: _Rendering | None) -> Iterator[Finding]:
    if info.reasoning_switch is None or info.reasoning_switch.off is None:
        return
    if on is None or off is None or on.prompt is None or off.prompt is None:
        return
    if on.prompt.tokens == off.prompt.tokens:
        yield Finding("problem", "switch", "the prompts with reasoning on and off are the same")
    elif off.prompt.reasoning_started:
        yield Finding("problem", "switch", "the prompt with reasoning off ends inside reasoning")
    else:
        only_on, only_off = _differing_texts(on.text, off.text)
        yield Finding("ok", "switch", f"on writes {only_on!r}, off writes {only_off!r}")


def _differing_texts(one: str, other: str) -> tuple[str, str]:
    """The words of two texts between their common beginning and their common end, shortened."""
    left, right = WORD.findall(one), WORD.findall(other)
    start = _equal_words(left, right)
    left, right = left[start:], right[start:]
    end = _equal_words(left[::-1], right[::-1])
    return _shortened(left[: len(left) - end]), _shortened(right[: len(right) - end])


def _shortened(words: Sequence[str]) -> str:
    return "".join(words)[:DIFFERENCE_LENGTH]


def _equal_words(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of words before the first difference."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def _check_tokens(tokenizer: Tokenizer, renderings: Sequence[_Rendering]) -> Iterator[Finding]:
    """Check that each marker of the template is one token, and that no prompt begins with a special token twice."""
    texts = "\n".join(rendering.text for rendering in renderings)
    markers = sorted(set(MARKER.findall(texts)))
    split = [marker for marker in markers if len(tokenizer.encode(marker, add_special_tokens=False)) != 1]
    if split:
        yield Finding("note", "markers", f"not one token of the vocabulary: {', '.join(split)}", DOWNLOAD_AGAIN)
    elif markers:
        yield Finding("ok", "markers", f"each is one token: {', '.join(markers)}")
    for rendering in renderings:
        tokens = rendering.prompt.tokens[:2] if rendering.prompt else []
        if len(tokens) == 2 and tokens[0] == tokens[1] and tokens[0] in tokenizer.special_token_ids:
            yield Finding("note", "markers", f"the prompt begins with {tokenizer.token_bytes(tokens[0])!r} twice")
            return
