"""Lists the operations that get and delete models for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from pico_jupyter.dialects import ollama_answer_schema, ollama_request
from pico_jupyter.dialects.download_requests import DownloadChange, DownloadRequest, FoundLimit, RepoPart, Words
from pico_jupyter.dialects.openapi_operation import ACCESS_ERRORS, POST_ERRORS, READ_ERRORS, Errors, Operation
from pico_jupyter.download_reports import (
    Download,
    DownloadList,
    FoundModels,
    FreedDisk,
    HubModel,
    RecommendedModels,
)
from pico_jupyter.engine_reports import SkippedFolders
from pico_jupyter.errors import Conflict, HubUnavailable, InvalidRequest, RequestTooLarge

HUB_ERRORS: Errors = (HubUnavailable,)
_WRITE_ERRORS: Errors = (*ACCESS_ERRORS, InvalidRequest, RequestTooLarge)
_CHANGE_ERRORS: Errors = (*_WRITE_ERRORS, Conflict)
_HUB_READ_ERRORS: Errors = (*READ_ERRORS, InvalidRequest, *HUB_ERRORS)

DOWNLOAD_PARAMETERS: dict[str, Any] = {
    "owner": Annotated[RepoPart, Meta(description="The owner of the model on the hub.")],
    "name": Annotated[RepoPart, Meta(description="The name of the model on the hub.")],
    "q": Words,
    "limit": FoundLimit,
}

DOWNLOAD_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "downloads",
        "OpenAI",
        "List the downloads: those that are not complete, and those that this server has completed.",
        answer=DownloadList,
        errors=ACCESS_ERRORS,
        mount="pico",
        head=True,
    ),
    Operation(
        "post",
        "downloads",
        "OpenAI",
        "Download a model, or resume a download. It goes on after the response, and without a client.",
        requests=(DownloadRequest,),
        answer=Download,
        errors=_WRITE_ERRORS,
        mount="pico",
        status=202,
    ),
    Operation(
        "patch",
        "downloads/{owner}/{name}",
        "OpenAI",
        "Pause or resume a download.",
        requests=(DownloadChange,),
        answer=Download,
        errors=_CHANGE_ERRORS,
        mount="pico",
    ),
    Operation(
        "delete",
        "downloads/{owner}/{name}",
        "OpenAI",
        "Cancel a download and delete its files. Of a complete download, only the entry in the list is removed.",
        answer=FreedDisk,
        errors=_CHANGE_ERRORS,
        mount="pico",
    ),
    Operation(
        "get",
        "skipped",
        "OpenAI",
        "List the folders with files of a model that are not in the list of models, and the reasons.",
        answer=SkippedFolders,
        errors=READ_ERRORS,
        mount="pico",
        head=True,
    ),
    Operation(
        "get",
        "hub/recommended",
        "OpenAI",
        "List good models for machines of several sizes, and whether they fit into the memory of this one.",
        answer=RecommendedModels,
        errors=READ_ERRORS,
        mount="pico",
        head=True,
    ),
    Operation(
        "get",
        "hub/search",
        "OpenAI",
        "Search the Hugging Face hub for models in MLX format.",
        answer=FoundModels,
        errors=_HUB_READ_ERRORS,
        mount="pico",
        head=True,
        query=("q", "limit"),
    ),
    Operation(
        "get",
        "hub/models/{owner}/{name}",
        "OpenAI",
        "Describe a model of the hub. Reads its small files there, and no weights.",
        answer=HubModel,
        errors=_HUB_READ_ERRORS,
        mount="pico",
        head=True,
    ),
)

PULL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "api/pull",
        "Ollama",
        "Download a model, unless it is installed. Closing the connection pauses the download.",
        requests=(ollama_request.OllamaPullRequest, ollama_request.OllamaOldPullRequest),
        answer=ollama_answer_schema.OllamaPullStatus,
        chunk=ollama_answer_schema.OllamaPullStatus,
        errors=(*POST_ERRORS, *HUB_ERRORS),
    ),
    Operation(
        "delete",
        "api/delete",
        "Ollama",
        "Delete a model that was downloaded. It is unloaded first.",
        requests=(ollama_request.OllamaShowRequest, ollama_request.OllamaOldShowRequest),
        is_empty=True,
        errors=(*POST_ERRORS, Conflict),
    ),
)
