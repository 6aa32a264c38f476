"""The commands of %pico, for its help, its completion and its docs."""

from __future__ import annotations

COMMANDS = {
    "": "how things stand",
    "models": "the models on this machine",
    "ps": "those in memory",
    "load NAME": "load a model now",
    "unload NAME": "take a model out of memory",
    "model NAME": "the model that answers from now on; default: the first one that can",
    "reasoning on|off|default": "whether it thinks first, from now on",
    "new": "forget the conversation",
}
WORDS = tuple(command.split()[0] for command in COMMANDS if command)


def describe_commands() -> str:
    """The commands, for help."""
    return "\n".join(f"  %pico {command:<26} {what}" for command, what in COMMANDS.items())
