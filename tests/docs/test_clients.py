"""The configurations of other programs on the pages, read as these programs read them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import yaml

from tests.e2e.running import RunningServer

PAGES = Path(__file__).parents[2] / "docs/how-to"
CONFIGURATIONS = re.findall(r"^```yaml\n(.*?)^```", (PAGES / "continue.md").read_text(), re.MULTILINE | re.DOTALL)
CODEX = re.findall(r"^```toml\n(.*?)^```", (PAGES / "codex.md").read_text(), re.MULTILINE | re.DOTALL)
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


def test_codexs_configuration_reaches_the_server(server: RunningServer) -> None:
    read = tomllib.loads(CODEX[0].replace("http://localhost:8888/", server.url))
    provider = read["model_providers"][read["model_provider"]]
    assert (provider["wire_api"], provider["env_key"]) == ("responses", "JUPYTER_TOKEN")
    body = {"model": "pico-tiny", "input": "What is 12 + 35?"}
    headers = {"Authorization": f"Bearer {server.token}"}
    answer = httpx.post(f"{provider['base_url']}/responses", json=body, headers=headers, timeout=60)
    assert "47" in answer.json()["output"][-1]["content"][0]["text"]
