"""`jupyter pico`: parses the command line and runs one command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pico_jupyter import __version__
from pico_jupyter.cli.attachments import read_attachment
from pico_jupyter.cli.chat import Conversation, LocalChat, ServerChat, converse, print_answer
from pico_jupyter.cli.doctor import diagnose
from pico_jupyter.cli.models import print_models, print_resident, show_model
from pico_jupyter.cli.settings import configured, engine_options, find_server
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.errors import PicoError

INTERRUPTED = 130
REASONING = {"on": True, "off": False, "default": None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    options = _parse(parser, arguments)
    try:
        return _command(options, parser)
    except PicoError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. argparse itself does not see that words behind an option belong to the prompt."""
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
        epilog="`run` and `ps` talk to a running Jupyter server: the one that PICO_JUPYTER_URL and PICO_JUPYTER_TOKEN "
        "name, else one of yours.",
    )
    parser.add_argument("--version", action="version", version=f"pico_jupyter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.add_parser("list", help="the models on this machine")
    show = commands.add_parser("show", help="what a model's files say about it")
    show.add_argument("name", metavar="NAME")
    _add_run(commands.add_parser("run", help="chat with a model", description="Chat with a model; thinking is dimmed."))
    commands.add_parser("ps", help="the models that are loaded in the running server")
    commands.add_parser("doctor", help="check this installation and say what to do about each problem")
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("name", metavar="NAME", help="a name from `jupyter pico list`")
    run.add_argument("prompt", metavar="PROMPT", nargs="*", help="ask this and end (default: a conversation)")
    run.add_argument("--think", choices=list(REASONING), default="default", help="reasoning (default: the model's own)")
    run.add_argument(
        "--image",
        dest="files",
        action="append",
        default=[],
        type=lambda name: ("image", name),
        metavar="FILE",
        help="show this picture with the first question; may be given several times",
    )
    run.add_argument(
        "--video",
        dest="files",
        action="append",
        type=lambda name: ("video", name),
        metavar="FILE",
        help="show this clip with the first question; may be given several times",
    )
    run.add_argument("--system", default="", metavar="TEXT", help="the system message")
    run.add_argument("--temperature", type=float, metavar="T", help="0 always picks the likeliest token")
    run.add_argument("--seed", type=int, metavar="N", help="makes sampling repeatable")
    run.add_argument("--max-tokens", type=int, metavar="N", help="end after so many tokens, thinking included")
    run.add_argument(
        "--local", action="store_true", help="host the model for this conversation, whatever runs elsewhere"
    )


def _command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    match options.command:
        case "list":
            print_models(Catalog(engine_options()).models())
        case "show":
            show_model(Catalog(engine_options()).find(options.name))
        case "run":
            _run(options)
        case "ps":
            print_resident(find_server())
        case "doctor":
            extension = configured()
            return diagnose(extension.engine_options, openblas=extension.openblas)
        case _:
            parser.print_help()
    return 0


def _run(options: argparse.Namespace) -> None:
    conversation = Conversation(
        model=options.name,
        reasoning=REASONING[options.think],
        system=options.system,
        temperature=options.temperature,
        seed=options.seed,
        max_tokens=options.max_tokens,
        media=[read_attachment(kind, name) for kind, name in options.files],
    )
    prompt = " ".join(options.prompt)
    if not prompt and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    server = None if options.local else find_server()
    if server is None:
        with _local_chat() as source:
            _talk(source, conversation, prompt)
    else:
        print(f"talking to {server.url}", file=sys.stderr)
        _talk(ServerChat(server), conversation, prompt)


def _local_chat() -> LocalChat:
    """The engine in a model kernel of its own, as a server has it: started in the same way, with the same speed."""
    return LocalChat(configured().model_kernel(logging.getLogger("pico_jupyter")))


def _talk(source: ServerChat | LocalChat, conversation: Conversation, prompt: str) -> None:
    if prompt:
        conversation.ask(prompt)
        print_answer(source, conversation)
    else:
        converse(source, conversation)
