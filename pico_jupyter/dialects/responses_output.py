"""Builds the output items of a response, and the events that report them."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec
from msgspec import UNSET

from pico_jupyter.dialects import responses_answer_schema as schema
from pico_jupyter.dialects.openai_answer_schema import OpenAILogprob
from pico_jupyter.dialects.responses_items import pack_reasoning
from pico_jupyter.dialects.responses_tools import CUSTOM_INPUT, CalledTool

Events: TypeAlias = list[schema.ResponsesEvent]


class ItemWriter(Protocol):
    """Writes one item: begin() first, then any pieces, finish() last."""

    def begin(self) -> Events:
        """Return the events of the item without content."""
        ...

    def finish(self, status: schema.ItemStatus) -> Events:
        """Return the last events of the item."""
        ...

    def item(self, status: schema.ItemStatus) -> schema.ResponsesOutputItem:
        """Return the item with the pieces that it has so far."""
        ...


class MessageWriter:
    """Writes a message."""

    def __init__(self, item_id: str, index: int) -> None:
        self._id = item_id
        self._index = index
        self._text: list[str] = []
        self._logprobs: list[OpenAILogprob] = []

    def __repr__(self) -> str:
        return f"<MessageWriter {self._id}>"

    def begin(self) -> Events:
        empty = schema.ResponsesMessage(id=self._id, status="in_progress", content=[])
        return [
            schema.ResponsesItemAdded(output_index=self._index, item=empty),
            schema.ResponsesPartAdded(item_id=self._id, output_index=self._index, part=self._part()),
        ]

    def add(self, text: str, logprobs: list[OpenAILogprob]) -> Events:
        """Append a piece of text, and return its event."""
        self._text.append(text)
        self._logprobs += logprobs
        return [schema.ResponsesTextDelta(item_id=self._id, output_index=self._index, delta=text, logprobs=logprobs)]

    def finish(self, status: schema.ItemStatus) -> Events:
        part = self._part()
        return [
            schema.ResponsesTextDone(
                item_id=self._id, output_index=self._index, text=part.text, logprobs=part.logprobs
            ),
            schema.ResponsesPartDone(item_id=self._id, output_index=self._index, part=part),
            schema.ResponsesItemDone(output_index=self._index, item=self.item(status)),
        ]

    def item(self, status: schema.ItemStatus) -> schema.ResponsesMessage:
        return schema.ResponsesMessage(id=self._id, status=status, content=[self._part()])

    def _part(self) -> schema.ResponsesOutputText:
        return schema.ResponsesOutputText(text="".join(self._text), logprobs=[*self._logprobs])


class ReasoningWriter:
    """Writes a reasoning item. With `packs`, the item has encrypted_content."""

    def __init__(self, item_id: str, index: int, *, packs: bool) -> None:
        self._id = item_id
        self._index = index
        self._packs = packs
        self._text: list[str] = []

    def __repr__(self) -> str:
        return f"<ReasoningWriter {self._id}>"

    def begin(self) -> Events:
        empty = schema.ResponsesReasoning(id=self._id, status="in_progress", content=[])
        return [
            schema.ResponsesItemAdded(output_index=self._index, item=empty),
            schema.ResponsesPartAdded(item_id=self._id, output_index=self._index, part=self._part()),
        ]

    def add(self, text: str) -> Events:
        """Append a piece of reasoning, and return its event."""
        self._text.append(text)
        return [schema.ResponsesReasoningDelta(item_id=self._id, output_index=self._index, delta=text)]

    def finish(self, status: schema.ItemStatus) -> Events:
        part = self._part()
        return [
            schema.ResponsesReasoningDone(item_id=self._id, output_index=self._index, text=part.text),
            schema.ResponsesPartDone(item_id=self._id, output_index=self._index, part=part),
            schema.ResponsesItemDone(output_index=self._index, item=self.item(status)),
        ]

    def item(self, status: schema.ItemStatus) -> schema.ResponsesReasoning:
        part = self._part()
        packed = pack_reasoning(part.text) if self._packs else UNSET
        return schema.ResponsesReasoning(id=self._id, status=status, content=[part], encrypted_content=packed)

    def _part(self) -> schema.ResponsesReasoningText:
        return schema.ResponsesReasoningText("".join(self._text))


class FunctionCallWriter:
    """Writes a call of a function."""

    def __init__(self, item_id: str, index: int, call_id: str, tool: CalledTool) -> None:
        self._id = item_id
        self._index = index
        self._call_id = call_id
        self._tool = tool
        self._arguments: list[str] = []

    def __repr__(self) -> str:
        return f"<FunctionCallWriter {self._id} {self._tool.name}>"

    def begin(self) -> Events:
        empty = msgspec.structs.replace(self.item("in_progress"), arguments="")
        return [schema.ResponsesItemAdded(output_index=self._index, item=empty)]

    def add(self, arguments: str) -> Events:
        """Append a piece of the arguments, and return its event."""
        self._arguments.append(arguments)
        if not arguments:
            return []
        return [schema.ResponsesArgumentsDelta(item_id=self._id, output_index=self._index, delta=arguments)]

    def finish(self, status: schema.ItemStatus) -> Events:
        # Clients concatenate the deltas, so empty arguments need a delta too.
        missing = [] if any(self._arguments) or status == "incomplete" else self.add("{}")
        item = self.item(status)
        done = schema.ResponsesArgumentsDone(
            item_id=self._id, output_index=self._index, name=item.name, arguments=item.arguments
        )
        return [*missing, done, schema.ResponsesItemDone(output_index=self._index, item=item)]

    def item(self, status: schema.ItemStatus) -> schema.ResponsesFunctionCall:
        return schema.ResponsesFunctionCall(
            id=self._id,
            status=status,
            call_id=self._call_id,
            name=self._tool.name,
            arguments="".join(self._arguments),
            namespace=self._tool.namespace or UNSET,
        )


class CustomCallWriter:
    """Writes a call of a custom tool. Its input is known when the arguments of the model's function are complete."""

    def __init__(self, item_id: str, index: int, call_id: str, tool: CalledTool) -> None:
        self._id = item_id
        self._index = index
        self._call_id = call_id
        self._tool = tool
        self._arguments: list[str] = []

    def __repr__(self) -> str:
        return f"<CustomCallWriter {self._id} {self._tool.name}>"

    def begin(self) -> Events:
        empty = msgspec.structs.replace(self.item("in_progress"), input="")
        return [schema.ResponsesItemAdded(output_index=self._index, item=empty)]

    def add(self, arguments: str) -> Events:
        """Append a piece of the arguments of the model's function. It has no event."""
        self._arguments.append(arguments)
        return []

    def finish(self, status: schema.ItemStatus) -> Events:
        item = self.item(status)
        return [
            schema.ResponsesCustomInputDelta(item_id=self._id, output_index=self._index, delta=item.input),
            schema.ResponsesCustomInputDone(item_id=self._id, output_index=self._index, input=item.input),
            schema.ResponsesItemDone(output_index=self._index, item=item),
        ]

    def item(self, status: schema.ItemStatus) -> schema.ResponsesCustomCall:
        return schema.ResponsesCustomCall(
            id=self._id,
            status=status,
            call_id=self._call_id,
            name=self._tool.name,
            input=_custom_input("".join(self._arguments)),
            namespace=self._tool.namespace or UNSET,
        )


def _custom_input(arguments: str) -> str:
    """Return the text in the arguments of the model's function. Arguments in another form are returned as they are."""
    try:
        value = msgspec.json.decode(arguments, type=dict[str, str]).get(CUSTOM_INPUT)
    except (msgspec.MsgspecError, RecursionError):
        value = None
    return arguments if value is None else value
