"""InfillFormat: the form of a prompt for the text between a prefix and a suffix (fill in the middle).

A format is chosen by the added tokens of a vocabulary, never by the model's name. Some general models share the
vocabulary of a code model. They have the tokens too, but were trained on them little or not at all.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec


class InfillFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens before the prefix, before the suffix, and at the end of the prompt; "" for none.

    - `families`: the families that the documentation names.
    - `suffix_first`: the suffix is before the prefix in the prompt.
    - `ends`: further tokens that end the answer. The tokens of the format always do.
    """

    families: tuple[str, ...]
    prefix: str
    suffix: str
    middle: str = ""
    suffix_first: bool = False
    ends: tuple[str, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of the format, without its ends."""
        return tuple(token for token in (self.prefix, self.suffix, self.middle) if token)


_FILE_ENDS = ("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>", "<|endoftext|>")
_PLAIN_FILE_ENDS = ("<fim_pad>", "<file_sep>", "<repo_name>", "<|endoftext|>")
INFILL_FORMATS = (
    InfillFormat(
        families=("Qwen Coder", "CodeGemma"),
        prefix="<|fim_prefix|>",
        suffix="<|fim_suffix|>",
        middle="<|fim_middle|>",
        ends=_FILE_ENDS,
    ),
    InfillFormat(
        families=("StarCoder", "Stable Code", "Granite Code"),
        prefix="<fim_prefix>",
        suffix="<fim_suffix>",
        middle="<fim_middle>",
        ends=_PLAIN_FILE_ENDS,
    ),
    InfillFormat(
        families=("SantaCoder",),
        prefix="<fim-prefix>",
        suffix="<fim-suffix>",
        middle="<fim-middle>",
        ends=("<fim-pad>", "<|endoftext|>"),
    ),
    InfillFormat(
        families=("DeepSeek Coder",), prefix="<｜fim▁begin｜>", suffix="<｜fim▁hole｜>", middle="<｜fim▁end｜>"
    ),
    InfillFormat(families=("Code Llama",), prefix="▁<PRE>", suffix="▁<SUF>", middle="▁<MID>", ends=("▁<EOT>",)),
    InfillFormat(
        families=("Seed Coder",),
        prefix="<[fim-prefix]>",
        suffix="<[fim-suffix]>",
        middle="<[fim-middle]>",
        suffix_first=True,
    ),
    InfillFormat(families=("Codestral",), prefix="[PREFIX]", suffix="[SUFFIX]", suffix_first=True),
)


def detect_infill_format(tokens: Container[str]) -> InfillFormat | None:
    """The format whose tokens are all among the added `tokens` of a vocabulary; None if there is no such format."""
    return next((form for form in INFILL_FORMATS if all(token in tokens for token in form.tokens)), None)
