"""The pages are built without a warning, and load nothing from anywhere else."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pico_jupyter.configuration import EngineConfiguration
from pico_jupyter.dialects import anthropic_answer_schema, anthropic_content, anthropic_errors, anthropic_request
from pico_jupyter.dialects.openapi import openapi_document
from pico_jupyter.server.extension import PicoJupyter

DOCS = Path(__file__).parents[2] / "docs"
SHEET_ADDRESS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Loads(HTMLParser):
    """What a browser loads for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag != "a":
            self.addresses += [value for name in ("src", "href", "data", "poster") if (value := given.get(name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--nitpicky", "--fresh-env", "--quiet"]
    done = subprocess.run(
        [*command, "--builder", "html", "--doctree-dir", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def is_elsewhere(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert any(address.endswith(".css") or ".css?" in address for address in loads.addresses)
        assert [address for address in loads.addresses if is_elsewhere(address)] == [], page


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    found = [(sheet.name, *pair) for sheet in site.rglob("*.css") for pair in SHEET_ADDRESS.findall(sheet.read_text())]
    assert found, "the style sheets load fonts and images of the site"
    assert [pair for pair in found if is_elsewhere(pair[1]) or is_elsewhere(pair[2])] == []


def page_of(schema: str) -> str:
    """The dialect whose page has a schema."""
    if schema.startswith("Ollama"):
        return "Ollama"
    modules = (anthropic_answer_schema, anthropic_content, anthropic_errors, anthropic_request)
    is_anthropic = any(getattr(vars(one).get(schema), "__module__", "") == one.__name__ for one in modules)
    return "Anthropic" if is_anthropic else "OpenAI"


def test_the_reference_has_every_field_of_every_request(site: Path) -> None:
    schemas = openapi_document(base_url="/", version="", authenticated=True)["components"]["schemas"]
    for dialect in ("OpenAI", "Anthropic", "Ollama"):
        page = (site / f"reference/{dialect.lower()}.html").read_text()
        told = set(re.findall(r'<span class="pre">([^<]+)</span>', page))
        names = [name for name in schemas if page_of(name) == dialect]
        fields = {field for name in names for field in schemas[name].get("properties", {})}
        assert "model" in fields
        assert fields <= told


def test_the_reference_has_every_setting(site: Path) -> None:
    page = (site / "reference/configuration.html").read_text()
    names = (*EngineConfiguration.class_own_traits(config=True), *PicoJupyter.class_own_traits(config=True))
    assert [name for name in names if f">{name}<" not in page] == []
