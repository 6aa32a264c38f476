"""`jupyter pico`: parses the command line and runs one command."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pico_jupyter import __version__
from pico_jupyter.cli.doctor import diagnose
from pico_jupyter.cli.model_doctor import diagnose_model
from pico_jupyter.cli.model_getting import pull_model, remove_model, search_models
from pico_jupyter.cli.model_tables import print_models, print_resident, show_model
from pico_jupyter.cli.terminal_chat import TerminalChat
from pico_jupyter.configuration import read_user_configuration
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.errors import InvalidRequest, PicoError
from pico_jupyter.sources.attachments import attach_file
from pico_jupyter.sources.calls import AnswerRequest
from pico_jupyter.sources.discovery import find_running_server
from pico_jupyter.sources.engine_source import EngineSource
from pico_jupyter.sources.server_source import ServerSource

INTERRUPTED = 130
_ANY_OBJECT = '{"type": "object"}'
SUMMARIES = {
    "list": "list the models on this machine",
    "show": "show the details of a model",
    "run": "chat with a model",
    "pull": "download a model from the Hugging Face hub, or resume its download",
    "rm": "delete a model that was downloaded",
    "search": "find models on the Hugging Face hub",
    "ps": "list the models that the running server has in memory",
    "doctor": "check this installation or a model, and suggest a remedy for each problem",
}
RUN_DESCRIPTION = (
    "Ask a model one question, or start a conversation in the terminal. Reasoning is dimmed, or in <think> tags if the "
    "output is not a terminal. Without PROMPT, the question is read from standard input if that is not a terminal."
)
PULL_DESCRIPTION = (
    "Download a model from the Hugging Face hub into its cache, or resume its download. Ctrl-C pauses the download. If "
    "a Jupyter server with pico_jupyter is running, the server downloads, and continues if the terminal is closed. "
    "HF_TOKEN, HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE have the same effect as in the programs of Hugging Face. The "
    "exit status is 0 if the model is complete, 1 after an error, and 130 after Ctrl-C."
)
SEARCH_DESCRIPTION = (
    "Find models in MLX format on the Hugging Face hub. Without WORDS, print the models that pico_jupyter recommends, "
    "those for small machines first. A size of - is unknown without a further request."
)
DOCTOR_DESCRIPTION = (
    "Check this installation, and suggest a remedy for each problem. With MODEL, render twelve conversations with the "
    "model's chat template, and report what it supports and what is odd. The report is meant for bug reports: it "
    "contains no conversation of yours. The exit status is 1 if there is a problem."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for an error, 130 after Ctrl-C."""
    parser = _parser()
    options = _parse(parser, arguments)
    try:
        return _run_command(options, parser)
    except PicoError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments. argparse does not recognize prompt words after an option, so they are added here."""
    options, words = parser.parse_known_args(arguments)
    if options.command == "run" and not any(word.startswith("-") for word in words):
        options.prompt += words
    elif words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jupyter pico",
        description="Local language models inside Jupyter, on MLX.",
        epilog="`run`, `ps`, `pull`, `rm` and `search` use a running Jupyter server: the one given by "
        "PICO_JUPYTER_URL and PICO_JUPYTER_TOKEN, or else the first of your servers that has pico_jupyter.",
    )
    parser.add_argument("--version", action="version", version=f"pico_jupyter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    parsers = {
        name: commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        for name, summary in SUMMARIES.items()
    }
    parsers["run"].description = RUN_DESCRIPTION
    parsers["show"].add_argument("name", metavar="NAME", help="a name from `jupyter pico list`")
    parsers["doctor"].description = DOCTOR_DESCRIPTION
    parsers["doctor"].add_argument(
        "name", metavar="MODEL", nargs="?", help="a name from `jupyter pico list`, or a folder"
    )
    _add_run_options(parsers["run"])
    _add_getting_options(parsers)
    return parser


def _add_getting_options(parsers: Mapping[str, argparse.ArgumentParser]) -> None:
    parsers["pull"].description = PULL_DESCRIPTION
    parsers["search"].description = SEARCH_DESCRIPTION
    parsers["pull"].add_argument("name", metavar="NAME", help="OWNER/NAME on the hub; without OWNER: of mlx-community")
    parsers["rm"].add_argument("name", metavar="NAME", help="a name from `jupyter pico list`")
    parsers["search"].add_argument("words", metavar="WORDS", nargs="*", help="parts of a model's name")
    for name in ("pull", "rm", "search"):
        parsers[name].add_argument(
            "--local", action="store_true", help="do not use a running server, but work in this process"
        )


def _add_run_options(run: argparse.ArgumentParser) -> None:
    add = run.add_argument
    add("name", metavar="NAME", help="a name from `jupyter pico list`")
    add("prompt", metavar="PROMPT", nargs="*", help="the question (default: start a conversation)")
    add("--think", choices=("on", "off", "default"), default="default", help="reasoning (default: the model's default)")
    for kind in ("image", "video"):
        add(
            f"--{kind}",
            dest="files",
            action="append",
            default=[],
            type=_with_kind(kind),
            metavar="FILE",
            help=f"attach this {kind} to the first question; may be repeated",
        )
    add("--system", default="", metavar="TEXT", help="the system message")
    add("--temperature", type=float, metavar="T", help="0 to 2; 0 always picks the most likely token")
    add("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    add("--max-tokens", type=int, metavar="N", help="maximum number of tokens, including reasoning")
    add("--format", default="", metavar="FILE", help="a file with the JSON schema of the answer; json: any JSON object")
    add("--local", action="store_true", help="start a separate model kernel, even if a server is running")


def _with_kind(kind: str) -> Callable[[str], tuple[str, str]]:
    """Return a type for argparse that converts a path to (kind, path)."""
    return lambda path: (kind, path)


def _run_command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    match options.command:
        case "list":
            print_models(Catalog(read_user_configuration().engine_options).models())
        case "show":
            show_model(Catalog(read_user_configuration().engine_options).find(options.name))
        case "run":
            _run(options)
        case "pull":
            pull_model(options.name, local=options.local)
        case "rm":
            remove_model(options.name, local=options.local)
        case "search":
            search_models(" ".join(options.words), local=options.local)
        case "ps":
            print_resident(find_running_server())
        case "doctor":
            configuration = read_user_configuration()
            if options.name:
                return diagnose_model(options.name, configuration.engine_options)
            return diagnose(configuration.engine_options, openblas=configuration.openblas)
        case _:
            parser.print_help()
    return 0


def _run(options: argparse.Namespace) -> None:
    attachments = [attach_file(kind, path) for kind, path in options.files]
    request = AnswerRequest(
        model=options.name,
        messages=(),
        reasoning=options.think,
        system=options.system,
        temperature=options.temperature,
        seed=options.seed,
        max_tokens=options.max_tokens,
        schema=_read_schema(options.format),
    )
    prompt = " ".join(options.prompt)
    if not prompt and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    server = None if options.local else find_running_server()
    with asyncio.Runner() as runner:
        if server is not None:
            print(f"using the server at {server.url}", file=sys.stderr)
            _chat(TerminalChat(ServerSource(server), runner, request, attachments), prompt)
            return
        source = EngineSource(read_user_configuration().model_kernel(logging.getLogger("pico_jupyter")))
        try:
            _chat(TerminalChat(source, runner, request, attachments), prompt)
        finally:
            runner.run(source.aclose())


def _read_schema(file: str) -> str:
    """Return the JSON schema in `file`; "": none. Raises InvalidRequest."""
    if file in ("", "json"):
        return _ANY_OBJECT if file else ""
    try:
        text = Path(file).read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"--format {file}: {error}", param="format") from None
    return text


def _chat(chat: TerminalChat, prompt: str) -> None:
    if prompt:
        chat.ask(prompt)
    else:
        chat.converse()
