"""The content that small chat templates render is detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pytest

from pico_jupyter.engine.catalog.content_format import ContentFormat, detect_content_format
from pico_jupyter.errors import TemplateFailed

PARTS = "{% for part in message.content %}%s{% endfor %}"
TEXT = "{% if part.type == 'text' %}{{ part.text }}{% endif %}"
IMAGE = "{% if part.type == 'image' %}<image>{% endif %}"
VIDEO = "{% if part.type == 'video' %}<video>{% endif %}"
EITHER = "{% if message.content is string %}{{ message.content }}{% else %}%s{% endif %}"


def parts(body: str) -> str:
    return PARTS.replace("%s", body)


def either(body: str) -> str:
    return EITHER.replace("%s", parts(body))


TEMPLATES: dict[str, tuple[str, ContentFormat]] = {
    "strings only": ("{{ message.content + '' }}", ContentFormat()),
    "strings only, and parts are dumped": ("{{ message.content }}", ContentFormat()),
    "strings only, and parts are dumped as JSON": (
        "{{ message.content if message.content is string else message.content | tojson }}",
        ContentFormat(),
    ),
    "parts only": (parts(TEXT + IMAGE), ContentFormat(accepts_strings=False, image_placeholder="<image>")),
    "parts only, and an error for a string": (
        "{% if message.content is string %}{{ raise('no strings') }}{% endif %}" + parts(TEXT + IMAGE),
        ContentFormat(accepts_strings=False, image_placeholder="<image>"),
    ),
    "parts without images": (either(TEXT), ContentFormat()),
    "images": (either(TEXT + IMAGE), ContentFormat(image_placeholder="<image>")),
    "images and videos": (
        either(TEXT + IMAGE + VIDEO),
        ContentFormat(image_placeholder="<image>", video_placeholder="<video>"),
    ),
    "images before all text": (
        either(IMAGE)[:-11] + parts(TEXT) + "{% endif %}",
        ContentFormat(image_placeholder="<image>"),
    ),
    "images after all text": (
        either(TEXT)[:-11] + parts(IMAGE) + "{% endif %}",
        ContentFormat(image_placeholder="<image>"),
    ),
    "a line for each image": (
        either(TEXT + IMAGE.replace("<image>", "\n\n<image>\n\n")),
        ContentFormat(image_placeholder="<image>"),
    ),
    "several tokens for an image": (
        either(TEXT + IMAGE.replace("<image>", "<start><image><end>")),
        ContentFormat(image_placeholder="<start><image><end>"),
    ),
    "images, and an error for other parts": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}[IMG]"
            "{% else %}{{ raise('only text and images') }}{% endif %}"
        ),
        ContentFormat(image_placeholder="[IMG]"),
    ),
    "images, and other parts are dumped": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>"
            "{% else %}{{ part | tojson }}{% endif %}"
        ),
        ContentFormat(image_placeholder="<image>"),
    ),
    "a space that is missing before an image": (
        "{{ ':' if message.content[0].type == 'image' else ': ' }}" + parts(TEXT + IMAGE),
        ContentFormat(accepts_strings=False, image_placeholder="<image>"),
    ),
    "nothing of the content": ("nothing", ContentFormat(accepts_strings=False)),
    "an error for all content": ("{{ raise('never') }}", ContentFormat(accepts_strings=False)),
}


def detected(body: str) -> ContentFormat:
    template = jinja2.Environment().from_string(
        "{% for message in messages %}[{{ message.role }}]" + body + "{% endfor %}[assistant]"
    )

    def raise_error(words: str) -> str:
        raise jinja2.TemplateError(words)

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        try:
            return template.render(messages=messages, **{"raise": raise_error})
        except (jinja2.TemplateError, TypeError) as error:
            raise TemplateFailed(str(error)) from error

    return detect_content_format(render)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_content_format_of_a_template_is_detected(name: str) -> None:
    template, expected = TEMPLATES[name]
    assert detected(template) == expected


@pytest.mark.parametrize(("kind", "placeholder"), [("image", "<image>"), ("video", "<video>")])
def test_each_kind_has_its_placeholder(kind: Any, placeholder: str) -> None:
    assert ContentFormat(image_placeholder="<image>", video_placeholder="<video>").placeholder(kind) == placeholder
