"""Recorded outputs of real models, in the folder that PICO_FAMILY_CASES names.

`cases.jsonl` holds the outputs and what they contain, `templates/` the chat templates, and `families.json` the added
tokens of each family.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from pico_jupyter.engine.formats.output_format import OutputFormat, detect_output_format
from pico_jupyter.engine.preparation.prompt import reasoning_at_end
from tests.engine.text.test_families import Family, FamilyAnswer, FamilyVocabulary, parse, read_arguments

FOLDER = os.environ.get("PICO_FAMILY_CASES", "")
# The added tokens of the tokenizers that families.json names, without those that a family adds.
BASE_SPECIAL = {
    "qwen3": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "llama3_1": ("<|eot_id|>", "<|eom_id|>", "<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>"),
    "gemma3": ("<start_of_turn>", "<end_of_turn>"),
    "gptoss": ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>", "<|return|>"),
}
BASE_TOKENS = {"qwen3": ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")}
# Cases whose recorded result differs from ours on purpose: the template, the start of the output, and the reason.
QUIRKS = (
    ("Qwen3.5-4B", "<think>\n\n</think>", "an empty thought is recorded with its opening tag"),
    ("Qwen3.5-4B", "I need to run", "reasoning is recorded that neither the prompt nor the output opens"),
    ("LFM2.5-8B", "<think>Let me think about", "special tokens in reasoning are recorded as text"),
    ("CohereForAI-c4ai-command-r-plus", "<|CHATBOT_TOKEN|>", "the recorded output begins with a token of the prompt"),
    ("Apriel-1.6", "I'm\nthinking", "the recorded reasoning holds the opening text of the prompt"),
    ("meta-llama-Llama-3.1", '```json\n"42"', "the code block is recorded without its fence"),
)


class RecordedOutput:
    """A line of cases.jsonl, with the template and the tokens of its model."""

    def __init__(self, folder: Path, row: dict[str, Any], family: dict[str, Any]) -> None:
        self.row = row
        self.template = (folder / "templates" / row["template"]).read_text(encoding="utf-8")
        base, removed = family.get("base", ""), set(family.get("remove", ()))
        added = family.get("add", ())
        special = (*BASE_SPECIAL.get(base, ()), *(text for text, is_special in added if is_special))
        tokens = (*BASE_TOKENS.get(base, ()), *(text for text, is_special in added if not is_special))
        self.special = tuple(text for text in special if text and text not in removed)
        self.tokens = tuple(text for text in tokens if text and text not in removed)
        self.output_format: OutputFormat = detect_output_format(self.template, {*self.special, *self.tokens})
        self.tools = [
            {"type": "function", "function": {**tool, "parameters": json.loads(tool["parameters"] or "{}")}}
            for tool in row["tools"]
        ]

    @property
    def started(self) -> bool:
        """Whether the prompt ends inside reasoning."""
        if self.row["cont"]:
            return bool(self.row["cont"] == 2 and self.output_format.reasoning_close)
        thinking = self.row["thinking"]
        try:
            prompt = _compile_jinja_template(self.template).render(
                messages=self.row["messages"] or [{"role": "user", "content": "Hi"}],
                tools=self.tools or None,
                add_generation_prompt=True,
                enable_thinking=thinking,
                thinking=thinking,
                bos_token="",
                eos_token="",
                strftime_now=lambda form: form,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError):
            return False
        return reasoning_at_end(prompt, self.output_format)[0]

    def expected(self) -> FamilyAnswer:
        """The recorded parts, without what a continued message held before."""
        row = self.row["expect"]
        reasoning, content = row["reasoning"] or "", row["content"] or ""
        close = self.output_format.reasoning_close
        if self.row["reasoning_format"] == 0 and not reasoning and close and close in content:
            reasoning, _, content = content.partition(close)
            reasoning = reasoning.replace(self.output_format.reasoning_open or "", "", 1)
        for message in self.row["messages"][-1:] if self.row["cont"] else ():
            reasoning = self._added(reasoning, message.get("reasoning_content") or message.get("reasoning"))
            content = self._added(content, message.get("content"))
        return FamilyAnswer(
            reasoning, content, [(call["name"], read_arguments(call["arguments"])) for call in row["tool_calls"]]
        )

    def _added(self, whole: str, before: Any) -> str:
        return whole.removeprefix(before) if isinstance(before, str) else whole

    def answer(self, length: int) -> FamilyAnswer:
        vocabulary = FamilyVocabulary(
            Family("", self.output_format, self.tokens, self.special), has_special_tokens=True
        )
        return parse(
            vocabulary,
            vocabulary.encode(self.row["input"], length),
            started=self.started,
            tools=json.dumps(self.tools),
            continuation=bool(self.row["cont"]),
        )

    def is_right(self, answer: FamilyAnswer) -> bool:
        """Whether the answer has the recorded parts. White space at their ends does not count."""
        expected = self.expected()
        texts = (answer.reasoning.strip(), answer.content.strip())
        if self.row["reasoning_format"] == 0 and not expected.reasoning:
            # The recorded content holds the reasoning.
            texts = ("", "".join(texts))
        return texts == (expected.reasoning.strip(), expected.content.strip()) and answer.calls == expected.calls

    @property
    def quirk(self) -> str:
        """Why the recorded result differs; "" if it should not."""
        template, text = self.row["template"], self.row["input"]
        return next((why for name, start, why in QUIRKS if template.startswith(name) and text.startswith(start)), "")


def recorded(folder: Path) -> list[RecordedOutput]:
    """The complete outputs of a folder."""
    families = json.loads((folder / "families.json").read_text(encoding="utf-8"))
    by_template: dict[str, dict[str, Any]] = {}
    for family in families.values():
        for template in (family.get("oracle"), family["template"]):
            by_template.setdefault(template, family)
    rows = [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    return [RecordedOutput(folder, row, by_template.get(row["template"], {})) for row in rows if not row["partial"]]


@pytest.mark.skipif(not FOLDER, reason="PICO_FAMILY_CASES names no folder")
@pytest.mark.parametrize("length", [1, 10**6])
def test_recorded_outputs_are_split_as_recorded(length: int) -> None:
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    unexpected: list[str] = []
    for output in recorded(Path(FOLDER)):
        answer = output.answer(length)
        name = output.row["template"]
        is_right = output.is_right(answer)
        (right if is_right else wrong)[name] += 1
        if not is_right and not output.quirk:
            unexpected.append(f"{name}: {output.row['input']!r}\n  recorded {output.expected()}\n  ours     {answer}")
    for name in sorted(right | wrong):
        print(f"{name:70} {right[name]:4} right {wrong[name]:4} wrong")
    print(f"{right.total()} right, {wrong.total()} wrong")
    assert not unexpected, "\n".join(unexpected)
    assert right.total() > 0
