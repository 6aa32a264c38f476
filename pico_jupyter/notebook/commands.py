"""Lists the commands of %pico, for its help, its completion and the documentation."""

from __future__ import annotations

COMMANDS = {
    "": "show the state: what answers, the settings, and the models in memory",
    "models": "list the models on this machine",
    "ps": "list the models in memory",
    "pull NAME": "download a model from the Hugging Face hub, or resume its download",
    "rm NAME": "delete a model that was downloaded",
    "load NAME": "load a model",
    "unload NAME": "unload a model",
    "model NAME": "set the model of later cells (default: the first that accepts the question)",
    "reasoning on|off|default": "set the reasoning of later cells",
    "new": "start a new conversation",
}
WORDS = tuple(command.split()[0] for command in COMMANDS if command)


def describe_commands() -> str:
    """Return the list of commands."""
    return "\n".join(f"  %pico {command:<26} {effect}" for command, effect in COMMANDS.items())
