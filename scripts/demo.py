"""Starts a real Jupyter server, sends chats to the built-in models over both dialects, and stops."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

QUESTION = "What is 12 + 35?"
PICTURE_QUESTION = "What is in the picture?"
START_SECONDS = 60
DIM, BOLD, RESET = ("\x1b[2m", "\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "", "")


def main() -> None:
    """Ask for a sum over both dialects, with and without reasoning. Then ask about an image. Check the answers."""
    with jupyter_server() as (url, token):
        print(f"{BOLD}Jupyter server{RESET} at {url}, with the built-in models pico-tiny and pico-tiny-vl\n")
        answers = [
            ask("OpenAI  POST v1/chat/completions, reasoning on", QUESTION, openai_chat(url, token, "high")),
            ask("OpenAI  POST v1/chat/completions, reasoning off", QUESTION, openai_chat(url, token, "none")),
            ask("Ollama  POST api/chat, think: true", QUESTION, ollama_chat(url, token, True)),
            ask("Ollama  POST api/chat, think: false", QUESTION, ollama_chat(url, token, False)),
        ]
        title = "OpenAI  POST v1/chat/completions, an image of a blue circle"
        seen = ask(title, PICTURE_QUESTION, openai_vision(url, token))
    for reasoned in (answers[0], answers[2]):
        if "47" not in reasoned:
            sys.exit(f"the answer to {QUESTION!r} does not contain 47: {reasoned!r}")
    if "blue circle" not in seen:
        sys.exit(f"the answer to {PICTURE_QUESTION!r} does not contain 'blue circle': {seen!r}")
    print("It works. `make lab` opens JupyterLab. The README shows how to use it from your own code.")


@contextlib.contextmanager
def jupyter_server() -> Iterator[tuple[str, str]]:
    """Run a Jupyter server with default settings on a free port of the loopback interface. Yields its URL and token."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environ = {**os.environ, "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_TOKEN": token}
        command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
        command += [f"--ServerApp.root_dir={folder}", "--no-browser", "--allow-root"]
        with (home / "server.log").open("w+") as log:
            server = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
            try:
                yield wait_for_url(server, home), token
            except BaseException:
                log.seek(0)
                print(log.read(), file=sys.stderr)
                raise
            finally:
                server.terminate()
                server.wait(timeout=30)


def wait_for_url(server: subprocess.Popen[bytes], home: Path) -> str:
    """Wait until the server answers. Returns the URL, which the server writes into a file."""
    info = home / "runtime" / f"jpserver-{server.pid}.json"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the Jupyter server exited with status {server.returncode}")
        with contextlib.suppress(OSError, ValueError):
            url = str(json.loads(info.read_text())["url"])
            with urllib.request.urlopen(url + "api"):
                return url
        time.sleep(0.05)
    sys.exit(f"the Jupyter server did not start within {START_SECONDS} s")


def ask(title: str, question: str, pieces: Iterator[tuple[str, str]]) -> str:
    """Print an answer and its reasoning as they stream. Returns the text of the answer."""
    print(f"{BOLD}{title}{RESET}\n  question  {question}")
    start = time.monotonic()
    first = 0.0
    text = ""
    last = ""
    for kind, piece in pieces:
        first = first or time.monotonic() - start
        if kind != last:
            line_end = "\n" if last else ""
            style = DIM if kind == "thinking" else ""
            print(f"{RESET}{line_end}  {kind:<10}{style}", end="")
            last = kind
        print(piece.replace("\n", "\n            "), end="", flush=True)
        if kind == "answer":
            text += piece
    print(f"{RESET}\n  {DIM}first token after {first:.2f} s, all after {time.monotonic() - start:.2f} s{RESET}\n")
    return text


def openai_chat(url: str, token: str, effort: str) -> Iterator[tuple[str, str]]:
    """Stream an answer over the OpenAI dialect (server-sent events)."""
    body = {"model": "pico-tiny", "messages": messages(), "reasoning": {"effort": effort}}
    yield from openai_stream(url, token, body)


def openai_vision(url: str, token: str) -> Iterator[tuple[str, str]]:
    """Stream an answer about an image in the request."""
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).ellipse((50, 50, 150, 150), fill="blue")
    image.save(png := io.BytesIO(), "PNG")
    data = base64.b64encode(png.getvalue()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    content = [picture, {"type": "text", "text": PICTURE_QUESTION}]
    yield from openai_stream(url, token, {"model": "pico-tiny-vl", "messages": [{"role": "user", "content": content}]})


def openai_stream(url: str, token: str, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Stream an answer. Yields its pieces as (kind, text)."""
    for line in post(url + "v1/chat/completions", token, {**body, "stream": True}):
        data = line.removeprefix(b"data: ").strip()
        if not line.startswith(b"data: ") or data == b"[DONE]":
            continue
        delta = json.loads(data)["choices"][0]["delta"]
        yield from pieces(delta.get("reasoning_content"), delta.get("content"))


def ollama_chat(url: str, token: str, think: bool) -> Iterator[tuple[str, str]]:
    """Stream an answer over the Ollama dialect (one JSON object per line)."""
    body = {"model": "pico-tiny", "messages": messages(), "think": think}
    for line in post(url + "api/chat", token, body):
        message = json.loads(line)["message"]
        yield from pieces(message.get("thinking"), message["content"])


def messages() -> list[dict[str, Any]]:
    """The conversation: one question."""
    return [{"role": "user", "content": QUESTION}]


def pieces(thinking: str | None, text: str | None) -> Iterator[tuple[str, str]]:
    """The pieces of one frame, as (kind, text)."""
    if thinking:
        yield "thinking", thinking
    if text:
        yield "answer", text


def post(url: str, token: str, body: object) -> Iterator[bytes]:
    """POST a JSON body. Yields the lines of the response."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        yield from response


if __name__ == "__main__":
    main()
