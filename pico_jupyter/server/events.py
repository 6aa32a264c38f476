"""Emits Jupyter events when a model is loaded or unloaded, and when the model kernel crashes.

Listeners subscribe at the server's api/events/subscribe, or add handlers to its EventLogger.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from jupyter_events import EventLogger

from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded, ModelUnloaded
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted

SCHEMAS = Path(__file__).parent / "event_schemas"
MODEL_LOADED = "urn:pico-jupyter:events:model_loaded"
MODEL_UNLOADED = "urn:pico-jupyter:events:model_unloaded"
MODEL_KERNEL_CRASHED = "urn:pico-jupyter:events:model_kernel_crashed"


def register_schemas(logger: EventLogger) -> None:
    """Register the schemas of our events with a server's event logger. Must be called once."""
    for path in sorted(SCHEMAS.glob("*.yaml")):
        logger.register_event_schema(path)


def emit(logger: EventLogger, event: KernelEvent) -> None:
    """Emit `event` as a Jupyter event. Starts of the kernel and statistics are not emitted."""
    match event:
        case ModelLoaded():
            data = {"model": event.model, "size": event.size, "seconds": event.seconds}
            logger.emit(schema_id=MODEL_LOADED, data=data)
        case ModelUnloaded():
            logger.emit(schema_id=MODEL_UNLOADED, data={"model": event.model, "reason": event.reason})
        case KernelCrashed():
            logger.emit(schema_id=MODEL_KERNEL_CRASHED, data={"exit": event.exit})
        case KernelStarted() | EngineStatistics():
            pass
        case _:
            assert_never(event)
