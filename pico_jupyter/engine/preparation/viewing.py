"""Viewing: from the media of a request and its rendered text to what a backend takes. Knows no mlx and no template.

In a prompt the places of a picture hold a negative number that follows from its bytes alone: what was computed for
them can be used again for the same picture, and for no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, TypeAlias, assert_never

from msgspec.structs import replace
from PIL.Image import Image

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.catalog.content_form import Content, ContentForm
from pico_jupyter.engine.media.images import decode_image, digest
from pico_jupyter.engine.media.processor import Processor
from pico_jupyter.engine.media.video import Clip, decode_video
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest, TemplateFailed
from pico_jupyter.types import EngineOptions, ImagePart, Message, Part, TextPart, VideoPart

MediaPart: TypeAlias = ImagePart | VideoPart
Kind: TypeAlias = Literal["image", "video"]

KINDS: tuple[Kind, ...] = ("image", "video")

# A frame of a clip is shrunk to so many pixels: processors shrink them further, to a share of the whole clip's.
FRAME_AREA = 512 * 512


@dataclass(frozen=True, slots=True, eq=False)
class Viewed:
    """A prompt that holds media: its tokens, negative in the places of pictures, and what a backend needs for them."""

    tokens: list[int]
    media: Media


@dataclass(slots=True)
class Viewing:
    """Looks at the media of one request, each part once however often its prompt is rendered."""

    processor: Processor
    tokenizer: Tokenizer
    options: EngineOptions
    _pictures: dict[str, Image] = field(default_factory=dict)
    _clips: dict[str, Clip] = field(default_factory=dict)

    @property
    def _form(self) -> ContentForm:
        return self.tokenizer.content_form

    def harmless(self, message: Message) -> Message:
        """The message, in which nothing reads like the mark of a picture: a user or a model may have written one."""
        return replace(
            message,
            content=tuple(self._harmless_parts(message.content)),
            reasoning=None if message.reasoning is None else self.harmless_text(message.reasoning),
            tool_calls=tuple(
                replace(call, arguments=self.harmless_text(call.arguments)) for call in message.tool_calls
            ),
        )

    def harmless_text(self, text: str) -> str:
        for mark in self._marks():
            text = text.replace(mark, f"{mark[:1]} {mark[1:]}")
        return text

    def content(self, parts: Sequence[Part]) -> Content:
        """A harmless message's content for the template: text where that does, else its parts in their order."""
        has_media = any(not isinstance(part, TextPart) for part in parts)
        has_marks = all(self._form.mark_of(_kind(part)) for part in parts if not isinstance(part, TextPart))
        if not has_media and self._form.takes_text:
            return "".join(part.text for part in parts if isinstance(part, TextPart))
        if has_media and not has_marks:
            return "".join(self._literally(part) for part in parts)
        return [_as_item(part) for part in parts]

    def view(self, text: str, parts: Sequence[MediaPart]) -> Viewed:
        """Tokens and media of a rendered text that holds `parts`.

        Raises InvalidRequest, which names the part that it is about, and TemplateFailed.
        """
        self._check_marks(text, parts)
        pictures = [self._picture(part) for part in parts if isinstance(part, ImagePart)]
        clips = [self._clip(part) for part in parts if isinstance(part, VideoPart)]
        processed = self.processor(text, pictures, clips)
        tokens = processed.tokens
        spans = list(_runs(tokens, self.processor.image_ids | self.processor.video_ids))
        size = sum(end - start for start, end in spans)
        if not spans or spans[-1][1] == len(tokens):
            raise TemplateFailed("chat template error: it leaves no place for a picture", param=parts[0].param)
        if size > (most := self.options.max_media_tokens):
            raise InvalidRequest(
                f"the pictures and clips take {size} tokens, and at most {most} are allowed", param=parts[-1].param
            )
        return Viewed(self._keyed(tokens, spans, parts), Media(tokens, spans, processed.inputs))

    def _keyed(self, tokens: Sequence[int], spans: Sequence[tuple[int, int]], parts: Sequence[MediaPart]) -> list[int]:
        """The tokens with the numbers of what is seen in the spans.

        Where a picture takes several spans it cannot be told which are whose, and they stand for all pictures.
        """
        keyed = list(tokens)
        pictures = [digest(part.data) for part in parts if isinstance(part, ImagePart)]
        clips = [digest(part.data) for part in parts if isinstance(part, VideoPart)]
        for ids, digests in ((self.processor.image_ids, pictures), (self.processor.video_ids, clips)):
            own = [(start, end) for start, end in spans if tokens[start] in ids]
            whole = digests if len(own) == len(digests) else [b"".join(digests)] * len(own)
            for (start, end), content in zip(own, whole, strict=True):
                keyed[start:end] = [_number(content)] * (end - start)
        return keyed

    def _picture(self, part: ImagePart) -> Image:
        if part.param not in self._pictures:
            data = _data_of(part)
            self._pictures[part.param] = decode_image(data, part.param, max_pixels=self.options.max_image_pixels)
        return self._pictures[part.param]

    def _clip(self, part: VideoPart) -> Clip:
        if part.param not in self._clips:
            sampling = self.processor.sampling
            most = self.options.max_video_frames
            self._clips[part.param] = decode_video(
                _data_of(part),
                part.param,
                max_pixels=self.options.max_image_pixels,
                max_frames=min(most, sampling.most or most),
                fps=self.options.video_fps,
                frame_area=FRAME_AREA,
                frames=sampling.count,
            )
        return self._clips[part.param]

    def _harmless_parts(self, parts: Sequence[Part]) -> Iterator[Part]:
        """Texts that follow each other become one: a mark may be spread over them."""
        for is_text, group in groupby(parts, key=lambda part: isinstance(part, TextPart)):
            if is_text:
                yield TextPart(self.harmless_text("".join(part.text for part in group if isinstance(part, TextPart))))
            else:
                yield from group

    def _literally(self, part: Part) -> str:
        if isinstance(part, TextPart):
            return part.text
        literal = self.processor.literal(_kind(part))
        if not literal:
            raise TemplateFailed(f"chat template error: there is no place for {_noun(part)}", param=part.param)
        return literal

    def _marks(self) -> list[str]:
        marks = [self._form.image_mark, self._form.video_mark]
        marks += [self.processor.literal("image"), self.processor.literal("video")]
        marks += [word for mark in marks for word in self.tokenizer.special_words_in(mark)]
        return sorted({mark for mark in marks if len(mark) > 1}, key=len, reverse=True)

    def _check_marks(self, text: str, parts: Sequence[MediaPart]) -> None:
        """Each part must have left its mark: some templates silently drop what they do not expect.

        A mark too many may have come in with a tool, say; the picture would be seen in its place.
        """
        for kind in KINDS:
            own = [part for part in parts if _kind(part) == kind]
            literal = self.processor.literal(kind)
            mark = self._form.mark_of(kind) or literal
            if literal and text.count(literal) > len(own) * mark.count(literal):
                raise InvalidRequest(f"{literal} may not be in a prompt with pictures or clips", param="messages")
            if own and text.count(mark) != len(own):
                raise TemplateFailed(
                    f"chat template error: it has no place for {_noun(own[-1])} here", param=own[-1].param
                )


def _as_item(part: Part) -> dict[str, str]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart() | VideoPart():
            return {"type": _kind(part)}
        case _:
            assert_never(part)


def _kind(part: MediaPart) -> Kind:
    return "image" if isinstance(part, ImagePart) else "video"


def _noun(part: MediaPart) -> str:
    return "a picture" if isinstance(part, ImagePart) else "a clip"


def _data_of(part: MediaPart) -> bytes:
    if not part.data:
        raise InvalidRequest(f"{_noun(part)} must come with the request: no URL is fetched here", param=part.param)
    return part.data


def _runs(tokens: Sequence[int], wanted: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Where the same wanted token stands several times in a row: (first, behind the last)."""
    for token, places in groupby(range(len(tokens)), key=tokens.__getitem__):
        if token in wanted:
            run = list(places)
            yield run[0], run[-1] + 1


def _number(content: bytes) -> int:
    """A negative number for a content, of 62 bits."""
    return -1 - (int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 2)
