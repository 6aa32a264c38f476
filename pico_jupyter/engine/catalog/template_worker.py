"""`python -m pico_jupyter.engine.catalog.template_worker`: the child process of TemplateProcess.

It reads requests from its standard input until the parent process closes it or ends. A request is a line
of JSON with the arguments of detect_template_features(). The answer is a line of JSON: TemplateFeatures, or the reason
why the template is broken. The operating system ends the process if a request uses too much processor time.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time

import msgspec

from pico_jupyter.engine.catalog.template_features import TemplateFeatures, detect_template_features
from pico_jupyter.engine.catalog.template_sandbox import LIMIT_EXCEEDED
from pico_jupyter.engine.catalog.weights import BrokenModel

# Seconds of processor time for all renderings of one template together. The limit can only be whole seconds.
TIME_LIMIT = 2
# Characters of a reason. jinja2's messages may contain text of the template.
REASON_LIMIT = 1000


def main() -> None:
    """Answer requests until the standard input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
    for line in sys.stdin.buffer:
        limit = math.ceil(time.process_time()) + TIME_LIMIT
        if hard_limit == resource.RLIM_INFINITY or limit < hard_limit:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, hard_limit))
        sys.stdout.buffer.write(msgspec.json.encode(_answer(line)) + b"\n")
        sys.stdout.buffer.flush()


def _answer(line: bytes) -> TemplateFeatures | str:
    text, special_tokens, added_tokens = json.loads(line)
    try:
        return detect_template_features(text, dict(special_tokens), frozenset(added_tokens))
    except BrokenModel as error:
        return str(error)[:REASON_LIMIT].encode("utf-8", "replace").decode()
    except MemoryError:
        return LIMIT_EXCEEDED


if __name__ == "__main__":
    main()
