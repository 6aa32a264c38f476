"""Makes conversations with tools: the model calls a tool with the right arguments, or uses the result of a call."""

import json
from dataclasses import dataclass
from random import Random

from training import words
from training.conversation import Message, Sample, Tool, Turn, user
from training.sums import QUESTION_LISTS
from training.words import listed

CALCULATOR_NAMES = ("calculator", "calculator", "calc", "calculate", "evaluate", "math")
CALCULATOR_DESCRIPTIONS = (
    "Evaluate an arithmetic expression.", "A calculator for numbers", "Evaluate arithmetic", "Do a calculation",
    "Calculates the value of an expression.", "Evaluate a math expression and return the result.",
)  # fmt: skip
EXPRESSION_NAMES = ("expression", "expression", "expr", "formula", "input")
WEATHER_NAMES = ("get_weather", "get_weather", "weather", "get_current_weather", "lookup_weather")
WEATHER_DESCRIPTIONS = (
    "Get the current weather in a city.", "Current weather", "Returns the weather for a city", "Get the weather",
    "Get the current weather in a given location",
)  # fmt: skip
PLACE_NAMES = ("city", "city", "location", "place")
WEATHER_QUESTIONS = listed(
    """What is the weather in {c}?|weather in {c}|How is the weather in {c} today?|Is it raining in {c}?|
What's the weather like in {c}?|What is the weather like in {c}?|Weather in {c}?|How is the weather in {c}?""",
    "|",
)
TIME_QUESTIONS = listed("What time is it in {c}?|What is the time in {c}?|time in {c}|Tell me the time in {c}.", "|")
SIGNS = {"+": "+", "-": "-", "×": "*"}


@dataclass(slots=True)
class Request:
    """A question that a tool answers. `content` is the result of the tool, and `report` is the model's answer."""

    question: str
    tool: Tool
    arguments: dict[str, str | int]
    content: str
    report: str


def function(rng: Random, name: str, description: str, properties: dict[str, str]) -> Tool:
    """A tool in OpenAI's format. Random details differ, as they do between clients."""
    described = rng.random() < 0.5
    fields = {
        key: {"type": kind, "description": f"The {key}"} if described else {"type": kind}
        for key, kind in properties.items()
    }
    schema = {"type": "object", "properties": fields, "required": list(properties)}
    if rng.random() < 0.2:
        schema = {"properties": fields, "required": list(properties), "type": "object"}
    body = {"name": name, "description": description, "parameters": schema}
    if rng.random() < 0.1:
        del body["description"]
    return {"type": "function", "function": body}


def calculator(rng: Random) -> tuple[Tool, str]:
    argument = rng.choice(EXPRESSION_NAMES)
    tool = function(rng, rng.choice(CALCULATOR_NAMES), rng.choice(CALCULATOR_DESCRIPTIONS), {argument: "string"})
    return tool, argument


def weather(rng: Random) -> tuple[Tool, str]:
    place = rng.choice(PLACE_NAMES)
    tool = function(rng, rng.choice(WEATHER_NAMES), rng.choice(WEATHER_DESCRIPTIONS), {place: "string"})
    return tool, place


def clock(rng: Random) -> tuple[Tool, str]:
    place = rng.choice(PLACE_NAMES)
    return function(rng, "get_time", "Get the current time in a city.", {place: "string"}), place


def calculation(rng: Random) -> Request:
    """A sum with the calculator. Half of the results are wrong, so that the model learns to copy the tool's result."""
    tool, argument = calculator(rng)
    operator = rng.choice("+-×")
    a, b = words.number(rng, 1, 5), words.number(rng, 1, 5)
    question = rng.choice(QUESTION_LISTS[operator]).format(a=a, b=b)
    expression = f"{a} {SIGNS[operator]} {b}"
    value = {"+": a + b, "-": a - b, "×": a * b}[operator] if rng.random() < 0.5 else rng.randint(-9999, 99999)
    return Request(question, tool, {argument: expression}, str(value), f"{a} {operator} {b} = {value}")


def two_numbers(rng: Random) -> Request:
    """A tool with two integers: add(a, b), multiply(x, y)."""
    operator, name = rng.choice((("+", "add"), ("-", "subtract"), ("×", "multiply")))
    first, second = rng.choice((("a", "b"), ("a", "b"), ("x", "y"), ("left", "right")))
    kind = rng.choice(("integer", "number"))
    description = rng.choice((f"{name.capitalize()} two numbers.", f"{name.capitalize()} {first} and {second}."))
    tool = function(rng, rng.choice((name, f"{name}_numbers")), description, {first: kind, second: kind})
    a, b = words.number(rng, 1, 4), words.number(rng, 1, 4)
    question = rng.choice(QUESTION_LISTS[operator]).format(a=a, b=b)
    value = rng.randint(0, 99999)
    return Request(question, tool, {first: a, second: b}, str(value), f"{a} {operator} {b} = {value}")


def forecast(rng: Random) -> Request:
    tool, place = weather(rng)
    city = rng.choice(words.CITIES) if rng.random() < 0.7 else words.name(rng)
    question = rng.choice(WEATHER_QUESTIONS).format(c=city)
    sky, degrees = rng.choice(("sunny", "cloudy", "rainy", "windy", "snowy")), rng.randint(-9, 35)
    content = rng.choice((
        f"{sky}, {degrees} degrees", f"{degrees}°C", sky, json.dumps({"temperature": degrees, "sky": sky}),
    ))  # fmt: skip
    return Request(question, tool, {place: city}, content, f"The weather in {city}: {content}")


def time_of_day(rng: Random) -> Request:
    tool, place = clock(rng)
    city = rng.choice(words.CITIES) if rng.random() < 0.7 else words.name(rng)
    content = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    question = rng.choice(TIME_QUESTIONS).format(c=city)
    return Request(question, tool, {place: city}, content, f"The time in {city}: {content}")


REQUESTS = (calculation, two_numbers, forecast, time_of_day)


def _request_and_tools(rng: Random) -> tuple[Request, list[Tool]]:
    request = rng.choices(REQUESTS, (5, 2, 4, 1))[0](rng)
    tools = [request.tool]
    if rng.random() < 0.35:
        others = [maker for maker in (calculator, weather, clock) if not _same_kind(maker(rng)[0], request.tool)]
        tools.append(rng.choice(others)(rng)[0])
    rng.shuffle(tools)
    return request, tools


def _same_kind(one: Tool, other: Tool) -> bool:
    """Whether both tools have the same purpose. The choice between two such tools would be a guess."""
    return _kind(one) == _kind(other)


def _kind(tool: Tool) -> str:
    name = tool["function"]["name"]
    return "weather" if "weather" in name else "clock" if "time" in name else "calculator"


def call(rng: Random) -> Sample:
    request, tools = _request_and_tools(rng)
    name = request.tool["function"]["name"]
    body = json.dumps({"name": name, "arguments": request.arguments}, ensure_ascii=False)
    answer = f"<tool_call>\n{body}\n</tool_call>"
    return Sample("tool call", [user(request.question)], f"I can use the tool {name}.", answer, tools)


def report(rng: Random) -> Sample:
    request, tools = _request_and_tools(rng)
    name = request.tool["function"]["name"]
    made = {"type": "function", "function": {"name": name, "arguments": request.arguments}}
    message: Message = {"role": "assistant", "content": "", "tool_calls": [made]}
    if rng.random() < 0.5:
        message["reasoning_content"] = f"I can use the tool {name}."
    answered: Message = {"role": "tool", "name": name, "content": request.content}
    messages = [user(request.question), message, answered]
    return Sample("tool result", messages, "The tool gave me the result.", request.report, tools)


def not_needed(rng: Random, turn: Turn) -> Sample:
    """A question that needs none of the tools, with the same answer as without tools."""
    tools = [rng.choice((weather, clock, calculator))(rng)[0]]
    return Sample("tool not needed", [user(turn.question)], turn.reasoning, turn.answer, tools, value=turn.value)
