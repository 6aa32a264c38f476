"""Measures a model folder with mlx-vlm: greedy answers about PNG and MP4 files of held-out scenes.

    python -m training.vision.evaluate FOLDER --count 100 --json RESULT.json

The table is printed as Markdown. held_out.py defines which scenes are held out. An answer is right if it is exact.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from mlx_vlm import generate, load

from training.vision.clip_questions import (
    ask_clip,
    ask_color_order,
    ask_end,
    ask_happens,
    ask_motion,
    ask_nothing,
    ask_several,
    ask_shape_order,
    ask_thing,
)
from training.vision.conversation import Scene
from training.vision.files import write_clip, write_picture
from training.vision.phrasings import in_other_words, spoken
from training.vision.processing import FRAME_SIZES
from training.vision.questions import (
    Asked,
    ask,
    ask_background,
    ask_color,
    ask_count,
    ask_describe,
    ask_one_color,
    ask_one_shape,
    ask_present,
    ask_shape,
    ask_where,
)
from training.vision.scenes import Clip, Picture, Size, draw_clip, draw_picture
from training.vision.small_talk import ask_talk

SEED = 424_242
MOST_TOKENS = 48
ANY_NUMBER = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Step:
    """A message and its right answer. None accepts any answer. `scenes` are attached before the text."""

    question: str
    answer: str | None
    scenes: tuple[Scene, ...] = ()


Case = list[Step]
CaseMaker = Callable[[Random, Size], Case]


@dataclass(slots=True)
class Cell:
    """One row of the table. `failures` holds (question, expected, written)."""

    correct: int = 0
    total: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Cell [{self.correct} of {self.total}]>"

    def share(self) -> float:
        return self.correct / self.total

    def count(self, question: str, expected: str, written: str) -> None:
        self.total += 1
        if written == expected:
            self.correct += 1
        else:
            self.failures.append((question, expected, written))


class Reader:
    """Runs the model with mlx-vlm on image and video files."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.model, self.processor = load(str(folder))
        self.scratch = scratch

    def __repr__(self) -> str:
        return f"<Reader [{self.scratch}]>"

    def answers(self, rng: Random, case: Case) -> list[str]:
        """The model's answers to the messages of a case. Each prompt contains the model's earlier answers."""
        messages: list[dict[str, Any]] = []
        media: dict[str, list[str]] = {"image": [], "video": []}
        written: list[str] = []
        for step in case:
            parts = [self._attach(rng, scene, media) for scene in step.scenes]
            messages.append({"role": "user", "content": [*parts, {"type": "text", "text": step.question}]})
            written.append(self._generate(messages, media))
            messages.append({"role": "assistant", "content": written[-1]})
        return written

    def _attach(self, rng: Random, scene: Scene, media: dict[str, list[str]]) -> dict[str, str]:
        kind, suffix = ("image", "png") if isinstance(scene, Picture) else ("video", "mp4")
        path = self.scratch / f"{len(media['image'])}-{len(media['video'])}.{suffix}"
        if isinstance(scene, Picture):
            write_picture(rng, scene, path)
        else:
            write_clip(rng, scene, path)
        media[kind].append(str(path))
        return {"type": kind}

    def _generate(self, messages: list[dict[str, Any]], media: dict[str, list[str]]) -> str:
        prompt = self.processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        files = {kind: paths for kind, paths in media.items() if paths}
        result = generate(
            self.model, self.processor, prompt, max_tokens=MOST_TOKENS, temperature=0.0, verbose=False, **files
        )
        return str(result.text).strip()


def single_step(rng: Random, asked: Asked, *scenes: Scene) -> Case:
    asked = spoken(rng, asked)
    return [Step(asked.question, asked.answer, scenes)]


def about_picture(draw: Callable[[Random, Picture], Asked | None], *counts: int) -> CaseMaker:
    """Makes questions about one picture. The picture has one of `counts` things (default: one to five)."""

    def make(rng: Random, frame: Size) -> Case:
        while True:
            picture = draw_picture(rng, frame, count=rng.choice(counts or ANY_NUMBER), held_out=True)
            asked = draw(rng, picture)
            if asked is not None:
                return single_step(rng, asked, picture)

    return make


def several_things(draw: Callable[[Random, Picture], Asked | None]) -> CaseMaker:
    def only_different(rng: Random, picture: Picture) -> Asked | None:
        return None if picture.is_uniform() else draw(rng, picture)

    return about_picture(only_different)


def picture_in_other_words(rng: Random, picture: Picture) -> Asked:
    asking = (ask_color, ask_shape, ask_background, ask_describe) if len(picture.things) == 1 else (ask_count,)
    return in_other_words(rng, rng.choice(asking)(rng, picture))


def clip_in_other_words(rng: Random, clip: Clip) -> Asked:
    return in_other_words(rng, rng.choice((ask_motion, ask_happens, ask_end))(rng, clip))


def about_clip(draw: Callable[[Random, Clip], Asked], *kinds: str, stages: tuple[int, ...] = (1, 2, 3, 4)) -> CaseMaker:
    """Makes questions about one clip. Its kind is one of `kinds`, and the number of its stages is one of `stages`."""

    def make(rng: Random, frame: Size) -> Case:
        while True:
            clip = draw_clip(rng, frame, kind=rng.choice(kinds), held_out=True)
            if len(clip.stages) in stages:
                return single_step(rng, draw(rng, clip), clip)

    return make


def blank(draw: Callable[[Random, Picture], Asked | None]) -> CaseMaker:
    """Makes controls: a plain gray image, with the question and the answer of a different image."""

    def make(rng: Random, frame: Size) -> Case:
        counts = ANY_NUMBER if draw is ask_count else (1,)
        (step,) = about_picture(draw, *counts)(rng, frame)
        return [Step(step.question, step.answer, (Picture(frame, "gray", ()),))]

    return make


def reversed_clip(rng: Random, frame: Size) -> Case:
    """A question about the motion in a video that is played backwards."""
    clip = draw_clip(rng, frame, kind="motion", held_out=True)
    while clip.motion == "still":
        clip = draw_clip(rng, frame, kind="motion", held_out=True)
    backwards = clip.reversed()
    return single_step(rng, ask_motion(rng, backwards), backwards)


def message_of_several(rng: Random, frame: Size) -> Case:
    pictures = tuple(draw_picture(rng, frame, count=1, held_out=True) for _ in range(rng.choice((2, 2, 3))))
    return single_step(rng, ask_several(rng, pictures), *pictures)


def fourth_question(rng: Random, frame: Size) -> Case:
    """Four questions. The first message has the image, and only the fourth answer counts."""
    picture = draw_picture(rng, frame, held_out=True)
    asked = [spoken(rng, ask(rng, picture)) for _ in range(4)]
    steps = [Step(one.question, None, (picture,) if i == 0 else ()) for i, one in enumerate(asked[:3])]
    return [*steps, Step(asked[3].question, asked[3].answer)]


def third_clip_question(rng: Random, frame: Size) -> Case:
    clip = draw_clip(rng, frame, held_out=True)
    asked = [spoken(rng, ask_clip(rng, clip)) for _ in range(3)]
    steps = [Step(one.question, None, (clip,) if i == 0 else ()) for i, one in enumerate(asked[:2])]
    return [*steps, Step(asked[2].question, asked[2].answer)]


def new_picture(rng: Random, frame: Size) -> Case:
    """A question about a new image in the second message."""
    old, new = (draw_picture(rng, frame, count=1, held_out=True) for _ in range(2))
    first, second = (spoken(rng, ask(rng, picture)) for picture in (old, new))
    return [Step(first.question, None, (old,)), Step(second.question, second.answer, (new,))]


def no_picture(rng: Random, frame: Size) -> Case:
    return single_step(rng, ask_nothing(rng))


def talk(rng: Random, frame: Size) -> Case:
    return single_step(rng, ask_talk(rng))


ROWS: dict[str, CaseMaker] = {
    "picture: color": about_picture(ask_color, 1),
    "picture: shape": about_picture(ask_shape, 1),
    "picture: count, one to five": about_picture(ask_count),
    "picture: count, one to three": about_picture(ask_count, 1, 2, 3),
    "picture: count, four or five": about_picture(ask_count, 4, 5),
    "picture: background": about_picture(ask_background),
    "picture: describe one shape": about_picture(ask_describe, 1),
    "picture: describe two to five": about_picture(ask_describe, 2, 3, 4, 5),
    "picture: is there a …?": about_picture(ask_present),
    "picture: where": about_picture(ask_where, 1),
    "picture: color of one of several": several_things(ask_one_color),
    "picture: shape of one of several": several_things(ask_one_shape),
    "control, blank picture: color": blank(ask_color),
    "control, blank picture: shape": blank(ask_shape),
    "control, blank picture: count": blank(ask_count),
    "control, blank picture: background": blank(ask_background),
    "video: motion": about_clip(ask_motion, "motion"),
    "video: motion, played backwards": reversed_clip,
    "video: order of colors": about_clip(ask_color_order, "colors"),
    "video: order of shapes": about_clip(ask_shape_order, "shapes"),
    "video: order of two colors": about_clip(ask_color_order, "colors", "both", stages=(2,)),
    "video: order of two shapes": about_clip(ask_shape_order, "shapes", "both", stages=(2,)),
    "video: order of three or four colors": about_clip(ask_color_order, "colors", "both", stages=(3, 4)),
    "video: order of three or four shapes": about_clip(ask_shape_order, "shapes", "both", stages=(3, 4)),
    "video: first or last, both change": about_clip(ask_end, "both"),
    "video: what happens, motion": about_clip(ask_happens, "motion"),
    "video: what happens, two things": about_clip(ask_happens, "both", stages=(2,)),
    "video: color, shape or number": about_clip(ask_thing, "motion"),
    "picture: questions in other words": about_picture(picture_in_other_words),
    "video: questions in other words": about_clip(clip_in_other_words, "motion"),
    "two or three pictures in a message": message_of_several,
    "fourth question about a picture": fourth_question,
    "third question about a video": third_clip_question,
    "a new picture in a second message": new_picture,
    "no picture": no_picture,
    "greetings, out of scope": talk,
}


def measure(reader: Reader, make: CaseMaker, count: int) -> Cell:
    rng = Random(SEED)
    cell = Cell()
    for _ in range(count):
        frame = rng.choices(list(FRAME_SIZES), list(FRAME_SIZES.values()))[0]
        case = make(rng, frame)
        last = case[-1]
        assert last.answer is not None
        cell.count(last.question, last.answer, reader.answers(rng, case)[-1])
    return cell


def table(results: dict[str, Cell]) -> str:
    lines = ["| question | right |", "| --- | --- |"]
    lines += [f"| {row} | {cell.share():.2f} |" for row, cell in results.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="questions per row")
    parser.add_argument("--rows", default="", help="prefixes of row names, separated by ;")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--failures", type=int, default=0, help="failures to print per row")
    options = parser.parse_args()
    results: dict[str, Cell] = {}
    with TemporaryDirectory() as scratch:
        reader = Reader(options.folder, Path(scratch))
        for row, make in ROWS.items():
            if not row.startswith(tuple(options.rows.split(";"))):
                continue
            results[row] = cell = measure(reader, make, options.count)
            for question, expected, written in cell.failures[: options.failures]:
                print(f"  {question!r}: expected {expected!r}, written {written!r}")
            print(row, cell, flush=True)
    print(table(results))
    if options.json:
        shares = {row: cell.share() for row, cell in results.items()}
        options.json.write_text(json.dumps({"count": options.count, "shares": shares}, indent=2) + "\n")


if __name__ == "__main__":
    main()
