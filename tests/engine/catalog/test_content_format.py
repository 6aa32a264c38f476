"""How a chat template takes pictures and clips, found out on small templates."""

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


FORMS: dict[str, tuple[str, ContentFormat]] = {
    "text only": ("{{ message.content + '' }}", ContentFormat()),
    "text only, and parts are dumped": ("{{ message.content }}", ContentFormat()),
    "text only, and parts are dumped as JSON": (
        "{{ message.content if message.content is string else message.content | tojson }}",
        ContentFormat(),
    ),
    "parts only": (parts(TEXT + IMAGE), ContentFormat(accepts_strings=False, image_placeholder="<image>")),
    "parts only, which raises for text": (
        "{% if message.content is string %}{{ raise('no strings') }}{% endif %}" + parts(TEXT + IMAGE),
        ContentFormat(accepts_strings=False, image_placeholder="<image>"),
    ),
    "parts without pictures": (either(TEXT), ContentFormat()),
    "pictures": (either(TEXT + IMAGE), ContentFormat(image_placeholder="<image>")),
    "pictures and clips": (
        either(TEXT + IMAGE + VIDEO),
        ContentFormat(image_placeholder="<image>", video_placeholder="<video>"),
    ),
    "pictures before all text": (
        either(IMAGE)[:-11] + parts(TEXT) + "{% endif %}",
        ContentFormat(image_placeholder="<image>"),
    ),
    "pictures behind all text": (
        either(TEXT)[:-11] + parts(IMAGE) + "{% endif %}",
        ContentFormat(image_placeholder="<image>"),
    ),
    "a line for each picture": (
        either(TEXT + IMAGE.replace("<image>", "\n\n<image>\n\n")),
        ContentFormat(image_placeholder="<image>"),
    ),
    "several tokens for a picture": (
        either(TEXT + IMAGE.replace("<image>", "<start><image><end>")),
        ContentFormat(image_placeholder="<start><image><end>"),
    ),
    "pictures, and raises for all else": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}[IMG]"
            "{% else %}{{ raise('only text and images') }}{% endif %}"
        ),
        ContentFormat(image_placeholder="[IMG]"),
    ),
    "pictures, and all else is dumped": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>"
            "{% else %}{{ part | tojson }}{% endif %}"
        ),
        ContentFormat(image_placeholder="<image>"),
    ),
    "a colon that gives way to a picture": (
        "{{ ':' if message.content[0].type == 'image' else ': ' }}" + parts(TEXT + IMAGE),
        ContentFormat(accepts_strings=False, image_placeholder="<image>"),
    ),
    "an answer to nothing": ("nothing", ContentFormat(accepts_strings=False)),
    "raises always": ("{{ raise('never') }}", ContentFormat(accepts_strings=False)),
}


def probed(body: str) -> ContentFormat:
    template = jinja2.Environment().from_string(
        "{% for message in messages %}[{{ message.role }}]" + body + "{% endfor %}[assistant]"
    )

    def give_up(words: str) -> str:
        raise jinja2.TemplateError(words)

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        try:
            return template.render(messages=messages, **{"raise": give_up})
        except (jinja2.TemplateError, TypeError) as error:
            raise TemplateFailed(str(error)) from error

    return detect_content_format(render)


@pytest.mark.parametrize("name", FORMS)
def test_a_template_s_form_is_found_out(name: str) -> None:
    template, form = FORMS[name]
    assert probed(template) == form


@pytest.mark.parametrize(("kind", "mark"), [("image", "<image>"), ("video", "<video>")])
def test_each_kind_has_its_mark(kind: Any, mark: str) -> None:
    assert ContentFormat(image_placeholder="<image>", video_placeholder="<video>").placeholder(kind) == mark
