"""Writes reasoning traces of school arithmetic, one line for each column.

A trace first splits each number into labelled columns, last digit first (U units, T tens, H hundreds, Th thousands),
so that every later step finds its digits by label. Each step ends with all digits found so far, so the answer is a copy
of the end of the last line.
"""

LABELS = ("U", "T", "H", "Th", "TTh", "HTh", "M")


def columns(number: int) -> str:
    """A number and its labelled digits: 348 gives '348: U8 T4 H3'."""
    return f"{number}: " + " ".join(label + digit for label, digit in zip(LABELS, reversed(str(number)), strict=False))


def digit(number: int, place: int) -> int:
    return number // 10**place % 10


def width(*numbers: int) -> int:
    return max(len(str(number)) for number in numbers)


def add_trace(a: int, b: int) -> str:
    lines = [f"{a} + {b}", columns(a), columns(b)]
    carry, found, places = 0, "", width(a, b)
    for place in range(places):
        x, y = digit(a, place), digit(b, place)
        total = x + y + carry
        written = str(total) if place == places - 1 else str(total % 10)
        found = written + found
        carried = "+1" if carry else ""
        lines.append(f"{LABELS[place]} {x}+{y}{carried}={total} → {found}")
        carry = total // 10
    return "\n".join(lines)


def compare_lines(a: int, b: int) -> list[str]:
    """Compare columns, from the highest column to the first column that differs."""
    lines = []
    for place in reversed(range(width(a, b))):
        x, y = digit(a, place), digit(b, place)
        lines.append(f"{LABELS[place]} {x}{relation(x, y)}{y}")
        if x != y:
            break
    return lines


def relation(x: int, y: int) -> str:
    return "=" if x == y else ">" if x > y else "<"


def compare_trace(a: int, b: int) -> str:
    return "\n".join([f"{a} ? {b}", columns(a), columns(b), *compare_lines(a, b)])


def subtract_trace(a: int, b: int) -> str:
    """Compare a and b first. If a < b, compute b - a, which the answer negates."""
    lines = [f"{a} - {b}", columns(a), columns(b), *compare_lines(a, b)]
    if a < b:
        a, b = b, a
        lines += [f"negative, so {a} - {b}", columns(a), columns(b)]
    return "\n".join(lines + _subtract_steps(a, b))


def _subtract_steps(a: int, b: int) -> list[str]:
    lines, borrow, found = [], 0, ""
    for place in range(width(a)):
        x, y = digit(a, place), digit(b, place)
        borrowed = "-1" if borrow else ""
        borrow_next = 1 if x - y - borrow < 0 else 0
        x += 10 * borrow_next
        difference = x - y - borrow
        found = f"{difference}{found}"
        lines.append(f"{LABELS[place]} {x}-{y}{borrowed}={difference} → {found}")
        borrow = borrow_next
    return lines


def multiply_by_digit_trace(a: int, b: int) -> str:
    """The trace of a product. b has one digit."""
    lines = [f"{a} × {b}", columns(a)]
    carry, found, places = 0, "", width(a)
    for place in range(places):
        x = digit(a, place)
        product = x * b + carry
        written = str(product) if place == places - 1 else str(product % 10)
        found = written + found
        carried = f"+{carry}" if carry else ""
        lines.append(f"{LABELS[place]} {x}×{b}{carried}={product} → {found}")
        carry = product // 10
    return "\n".join(lines)


def multiply_trace(a: int, b: int) -> str:
    """The trace of a product. b has one or two digits. If b has two digits and a has one, they are swapped."""
    if b < 10:
        return multiply_by_digit_trace(a, b)
    if a < 10:
        return f"{a} × {b}\n" + multiply_by_digit_trace(b, a)
    tens, units = divmod(b, 10)
    parts = [f"{a} × {b}", multiply_by_digit_trace(a, units), multiply_by_digit_trace(a, tens)]
    return "\n".join([*parts, add_trace(a * tens * 10, a * units)])


TRACES = {"+": add_trace, "-": subtract_trace, "×": multiply_trace}


def result(a: int, operator: str, b: int) -> int:
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "×":
            return a * b
        case _:
            raise ValueError(f"unknown operator {operator!r}")
