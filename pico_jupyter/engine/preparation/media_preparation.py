"""MediaPreparation: decodes the images and videos of a request and tokenizes the prompt that contains them.

The placeholder tokens of an image or video are replaced by its content id: a hash of the file's bytes, as a negative
number. The prefix cache compares these ids, so it finds an image only if the bytes are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, TypeAlias, assert_never

from PIL.Image import Image

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.catalog.content_format import Content, ContentFormat
from pico_jupyter.engine.media.images import content_digest, decode_image
from pico_jupyter.engine.media.media_processor import MediaProcessor
from pico_jupyter.engine.media.video import DecodedVideo, decode_video
from pico_jupyter.engine.preparation.template_messages import text_of
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest, TemplateFailed
from pico_jupyter.types import EngineOptions, ImagePart, Part, TextPart, VideoPart

MediaPart: TypeAlias = ImagePart | VideoPart
MediaKind: TypeAlias = Literal["image", "video"]

MEDIA_KINDS: tuple[MediaKind, ...] = ("image", "video")

# The most pixels of a decoded video frame. Processors shrink the frames of a long video further.
FRAME_AREA = 512 * 512


@dataclass(slots=True)
class MediaPreparation:
    """Prepares the media of one request. Each part is decoded once, even if the prompt is rendered several times."""

    processor: MediaProcessor
    tokenizer: Tokenizer
    options: EngineOptions
    _images: dict[str, Image] = field(default_factory=dict)
    _videos: dict[str, DecodedVideo] = field(default_factory=dict)

    @property
    def _format(self) -> ContentFormat:
        return self.tokenizer.content_format

    @property
    def placeholders(self) -> frozenset[str]:
        """All texts that the processor may replace by an image or a video."""
        found = [self._format.image_placeholder, self._format.video_placeholder]
        found += [self.processor.placeholder(kind) for kind in MEDIA_KINDS]
        found += [token for placeholder in found for token in self.tokenizer.added_tokens_in(placeholder)]
        return frozenset(text for text in found if len(text) > 1)

    def template_content(self, parts: Sequence[Part]) -> Content:
        """Convert the content of an escaped message for the chat template: to a string or to a list of dicts.

        If the template has no placeholder for a part, the result is a string with the placeholders of the processor.
        Raises TemplateFailed.
        """
        media = [part for part in parts if not isinstance(part, TextPart)]
        if not media and self._format.accepts_strings:
            return text_of(parts)
        if not all(self._format.placeholder(_kind(part)) for part in media):
            return "".join(self._text_or_placeholder(part) for part in parts)
        return [_template_part(part) for part in parts]

    def tokenize(self, text: str, parts: Sequence[MediaPart]) -> tuple[list[int], Media]:
        """Tokenize a rendered prompt that contains `parts`. Returns the tokens with content ids, and the media.

        Raises InvalidRequest with the field of the invalid part, and TemplateFailed.
        """
        self._check_placeholders(text, parts)
        images = [self._decode_image(part) for part in parts if isinstance(part, ImagePart)]
        videos = [self._decode_video(part) for part in parts if isinstance(part, VideoPart)]
        processed = self.processor.process(text, images, videos)
        tokens = processed.tokens
        spans = list(_runs(tokens, self.processor.image_ids | self.processor.video_ids))
        size = sum(end - start for start, end in spans)
        if not spans or spans[-1][1] == len(tokens):
            raise TemplateFailed("chat template error: no text follows the images and videos", param=parts[0].param)
        if size > (limit := self.options.max_media_tokens):
            reason = f"the images and videos take {size} tokens, which exceeds the limit of {limit}"
            raise InvalidRequest(reason, param=parts[-1].param)
        return self._with_content_ids(tokens, spans, parts), Media(tokens, spans, processed.inputs)

    def _with_content_ids(
        self, tokens: Sequence[int], spans: Sequence[tuple[int, int]], parts: Sequence[MediaPart]
    ) -> list[int]:
        """The tokens, with content ids in the spans.

        If there are more spans than images, it is unknown which image a span belongs to. All spans then get the same
        id, a hash of all images. The same holds for videos.
        """
        replaced = list(tokens)
        images = [content_digest(part.data) for part in parts if isinstance(part, ImagePart)]
        videos = [content_digest(part.data) for part in parts if isinstance(part, VideoPart)]
        for ids, digests in ((self.processor.image_ids, images), (self.processor.video_ids, videos)):
            kind_spans = [(start, end) for start, end in spans if tokens[start] in ids]
            is_one_to_one = len(kind_spans) == len(digests)
            span_digests = digests if is_one_to_one else [b"".join(digests)] * len(kind_spans)
            for (start, end), digest in zip(kind_spans, span_digests, strict=True):
                replaced[start:end] = [_content_id(digest)] * (end - start)
        return replaced

    def _decode_image(self, part: ImagePart) -> Image:
        if part.param not in self._images:
            data = _data_of(part)
            self._images[part.param] = decode_image(data, part.param, max_pixels=self.options.max_image_pixels)
        return self._images[part.param]

    def _decode_video(self, part: VideoPart) -> DecodedVideo:
        if part.param not in self._videos:
            sampling = self.processor.frame_sampling
            limit = self.options.max_video_frames
            self._videos[part.param] = decode_video(
                _data_of(part),
                part.param,
                max_pixels=self.options.max_image_pixels,
                max_frames=min(limit, sampling.maximum or limit),
                fps=self.options.video_fps,
                frame_area=FRAME_AREA,
                frames=sampling.count,
            )
        return self._videos[part.param]

    def _text_or_placeholder(self, part: Part) -> str:
        if isinstance(part, TextPart):
            return part.text
        placeholder = self.processor.placeholder(_kind(part))
        if not placeholder:
            reason = f"chat template error: the template has no placeholder for {_noun(part)}"
            raise TemplateFailed(reason, param=part.param)
        return placeholder

    def _check_placeholders(self, text: str, parts: Sequence[MediaPart]) -> None:
        """Check that the prompt has one placeholder for each part. Raises InvalidRequest and TemplateFailed.

        Some templates drop parts that they do not expect. A placeholder in a text, such as the description of a tool,
        would be replaced by an image.
        """
        for kind in MEDIA_KINDS:
            expected = [part for part in parts if _kind(part) == kind]
            token = self.processor.placeholder(kind)
            # The placeholder in the template may contain the token of the processor several times.
            placeholder = self._format.placeholder(kind) or token
            if token and text.count(token) > len(expected) * placeholder.count(token):
                reason = f"{token} is not allowed in a prompt with images or videos"
                raise InvalidRequest(reason, param="messages")
            if expected and text.count(placeholder) != len(expected):
                reason = f"chat template error: the template does not render {_noun(expected[-1])} here"
                raise TemplateFailed(reason, param=expected[-1].param)


def _template_part(part: Part) -> dict[str, str]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart() | VideoPart():
            return {"type": _kind(part)}
        case _:
            assert_never(part)


def _kind(part: MediaPart) -> MediaKind:
    return "image" if isinstance(part, ImagePart) else "video"


def _noun(part: MediaPart) -> str:
    return "an image" if isinstance(part, ImagePart) else "a video"


def _data_of(part: MediaPart) -> bytes:
    if not part.data:
        raise InvalidRequest(f"{_noun(part)} must be sent as bytes; the engine fetches no URL", param=part.param)
    return part.data


def _runs(tokens: Sequence[int], searched: frozenset[int]) -> Iterator[tuple[int, int]]:
    """For each run of equal tokens that are in `searched`, yield its start and end."""
    for token, positions in groupby(range(len(tokens)), key=tokens.__getitem__):
        if token in searched:
            run = list(positions)
            yield run[0], run[-1] + 1


def _content_id(digest: bytes) -> int:
    """The content id for a digest: a negative number of 62 bits."""
    return -1 - (int.from_bytes(hashlib.blake2b(digest, digest_size=8).digest(), "big") >> 2)
