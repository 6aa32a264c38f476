"""`jupyter pico pull`, `rm` and `search`: download, delete and find models."""

from __future__ import annotations

import asyncio
import sys

from tqdm import tqdm

from pico_jupyter.cli.model_tables import print_table
from pico_jupyter.configuration import read_user_configuration
from pico_jupyter.download_reports import HubModel
from pico_jupyter.downloads.recommended import recommended_models
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.sizes import about
from pico_jupyter.sources.discovery import find_running_server
from pico_jupyter.sources.model_getter import LocalGetter, ModelGetter, ServerGetter
from pico_jupyter.sources.pull_bar import PullBar

FOUND_LIMIT = 20


def pull_model(name: str, *, local: bool) -> None:
    """Download a model with a progress bar. Ctrl-C pauses the download. Raises PicoError and KeyboardInterrupt."""
    asyncio.run(_pull(_getter(local), name))
    print(f'{name} is ready: run "jupyter pico run {name}"')


def remove_model(name: str, *, local: bool) -> None:
    """Delete a downloaded model. Raises PicoError."""
    freed = asyncio.run(_getter(local).remove(name))
    print(f"{name} is deleted; this freed {about(freed)}")


def search_models(words: str, *, local: bool) -> None:
    """Print the models that the hub has for `words`, or without words the recommended ones. Raises PicoError."""
    if words:
        print_found(asyncio.run(_getter(local).search(words, FOUND_LIMIT)))
    else:
        print_found(recommended_models())


def print_found(models: tuple[HubModel, ...] | list[HubModel]) -> None:
    """Print one line per model."""
    rows = [
        (
            model.model,
            "-" if model.disk_bytes is None else about(model.disk_bytes),
            model.quantization or "-",
            model.parameters or "-",
            ", ".join(model.capabilities or ()) or "-",
            model.license or "-",
        )
        for model in models
    ]
    print_table(("NAME", "SIZE", "WEIGHTS", "PARAMETERS", "CAPABILITIES", "LICENSE"), rows)


def _getter(local: bool) -> ModelGetter:
    """The downloads of the running server, or of this process if there is no server."""
    server = None if local else find_running_server()
    if server is None:
        return LocalGetter(Catalog(read_user_configuration().engine_options))
    print(f"using the server at {server.url}", file=sys.stderr)
    return ServerGetter(server)


async def _pull(getter: ModelGetter, name: str) -> None:
    try:
        with PullBar(tqdm, name) as bar:
            async for record in getter.pull(name):
                bar.show(record)
    except asyncio.CancelledError:
        await getter.pause(name)
        print(f'paused; to resume: run "jupyter pico pull {name}"', file=sys.stderr)
        raise
