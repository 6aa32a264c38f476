"""How a chat template takes pictures and clips, found out on small templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pytest

from pico_jupyter.engine.catalog.content_form import ContentForm, probe_content
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


FORMS: dict[str, tuple[str, ContentForm]] = {
    "text only": ("{{ message.content + '' }}", ContentForm()),
    "text only, and parts are dumped": ("{{ message.content }}", ContentForm()),
    "text only, and parts are dumped as JSON": (
        "{{ message.content if message.content is string else message.content | tojson }}",
        ContentForm(),
    ),
    "parts only": (parts(TEXT + IMAGE), ContentForm(takes_text=False, image_mark="<image>")),
    "parts only, which raises for text": (
        "{% if message.content is string %}{{ raise('no strings') }}{% endif %}" + parts(TEXT + IMAGE),
        ContentForm(takes_text=False, image_mark="<image>"),
    ),
    "parts without pictures": (either(TEXT), ContentForm()),
    "pictures": (either(TEXT + IMAGE), ContentForm(image_mark="<image>")),
    "pictures and clips": (either(TEXT + IMAGE + VIDEO), ContentForm(image_mark="<image>", video_mark="<video>")),
    "pictures before all text": (either(IMAGE)[:-11] + parts(TEXT) + "{% endif %}", ContentForm(image_mark="<image>")),
    "pictures behind all text": (either(TEXT)[:-11] + parts(IMAGE) + "{% endif %}", ContentForm(image_mark="<image>")),
    "a line for each picture": (
        either(TEXT + IMAGE.replace("<image>", "\n\n<image>\n\n")),
        ContentForm(image_mark="<image>"),
    ),
    "several tokens for a picture": (
        either(TEXT + IMAGE.replace("<image>", "<start><image><end>")),
        ContentForm(image_mark="<start><image><end>"),
    ),
    "pictures, and raises for all else": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}[IMG]"
            "{% else %}{{ raise('only text and images') }}{% endif %}"
        ),
        ContentForm(image_mark="[IMG]"),
    ),
    "pictures, and all else is dumped": (
        either(
            "{% if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>"
            "{% else %}{{ part | tojson }}{% endif %}"
        ),
        ContentForm(image_mark="<image>"),
    ),
    "a colon that gives way to a picture": (
        "{{ ':' if message.content[0].type == 'image' else ': ' }}" + parts(TEXT + IMAGE),
        ContentForm(takes_text=False, image_mark="<image>"),
    ),
    "an answer to nothing": ("nothing", ContentForm(takes_text=False)),
    "raises always": ("{{ raise('never') }}", ContentForm(takes_text=False)),
}


def probed(body: str) -> ContentForm:
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

    return probe_content(render)


@pytest.mark.parametrize("name", FORMS)
def test_a_template_s_form_is_found_out(name: str) -> None:
    template, form = FORMS[name]
    assert probed(template) == form


@pytest.mark.parametrize(("kind", "mark"), [("image", "<image>"), ("video", "<video>")])
def test_each_kind_has_its_mark(kind: Any, mark: str) -> None:
    assert ContentForm(image_mark="<image>", video_mark="<video>").mark_of(kind) == mark
