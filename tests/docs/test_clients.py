"""The configurations of other programs on the pages, read as these programs read them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import yaml

from tests.e2e.running import RunningServer

PAGE = Path(__file__).parents[2] / "docs/how-to/continue.md"
CONFIGURATIONS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
# The path that each provider of Continue appends to apiBase. Its editor extensions join them as a browser does.
ENDPOINTS = {"openai": "chat/completions", "ollama": "api/chat"}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("has_slash", [True, False])
def test_continues_configuration_reaches_the_server(configuration: str, has_slash: bool, server: RunningServer) -> None:
    text = configuration.replace("http://localhost:8888/", server.url).replace("YOUR_JUPYTER_TOKEN", server.token)
    read = yaml.safe_load(text)
    assert {"name", "version", "schema"} <= read.keys()
    (model,) = read["models"]
    path = ENDPOINTS[model["provider"]]
    # The command `cn` also accepts an address without the slash at its end.
    url = urljoin(model["apiBase"], path) if has_slash else f"{model['apiBase'].rstrip('/')}/{path}"
    body = {"model": "pico-tiny", "messages": [{"role": "user", "content": "What is 12 + 35?"}], "stream": False}
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {model['apiKey']}"}, timeout=60)
    assert answer.status_code == 200
    assert "47" in answer.text


def test_the_page_has_a_configuration_for_each_provider() -> None:
    assert len(CONFIGURATIONS) == len(ENDPOINTS)
