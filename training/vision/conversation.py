"""Packs many questions about one image or video into one conversation, so that the vision tower runs once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from training.vision.clip_questions import ask_clip, ask_several
from training.vision.phrasings import spoken
from training.vision.questions import Asked, ask
from training.vision.scenes import Clip, Picture, Size, draw_clip, draw_picture
from training.vision.small_talk import ask_talk, ask_without_picture

Scene = Picture | Clip
MOST_TURNS = 9
BRANCHED = 0.65
KINDS = {"picture": 47, "several": 8, "clip": 42, "talk": 3}


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the user and its answer. The scenes are attached before the text, or after it if `behind` is set."""

    asked: Asked
    scenes: tuple[Scene, ...] = ()
    behind: bool = False


@dataclass(slots=True)
class Conversation:
    """Several turns about one or more scenes.

    If `branched` is true, each turn is a separate conversation about the scenes of the first turn. The model then
    answers each question from the scenes, and cannot copy from earlier answers.
    """

    turns: list[Turn] = field(default_factory=list)
    system: str | None = None
    branched: bool = False

    def scenes(self) -> list[Scene]:
        return [scene for turn in self.turns for scene in turn.scenes]


def draw_conversation(rng: Random, frame: Size, kind: str | None = None, *, freely: float = 0.0) -> Conversation:
    """A random conversation. `kind` is one of KINDS (None: random). All scenes have the same frame size.

    `freely` (0 to 1) is the probability that a question has unusual words.
    """
    system = "You are a helpful assistant." if rng.random() < 0.08 else None
    if kind is None:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    conversation = Conversation(system=system, branched=kind != "talk" and rng.random() < BRANCHED)
    turns = conversation.turns
    if kind == "talk" or (not conversation.branched and rng.random() < 0.1):
        turns += [Turn(spoken(rng, ask_without_picture(rng), freely=freely)) for _ in range(6 if kind == "talk" else 1)]
    match kind:
        case "picture":
            most = MOST_TURNS if conversation.branched else rng.choice((4, 8))
            _add_picture(rng, conversation, frame, most, freely=freely)
            if len(turns) < 6:
                _add_picture(rng, conversation, frame, 4, freely=freely)
        case "several":
            pictures = tuple(_draw_small(rng, frame) for _ in range(rng.choice((2, 2, 3))))
            _add(rng, conversation, pictures, lambda: ask_several(rng, pictures), 8, freely=freely)
        case "clip":
            clip = draw_clip(rng, frame)
            _add(rng, conversation, (clip,), lambda: ask_clip(rng, clip), 7, freely=freely)
    return conversation


def _draw_small(rng: Random, frame: Size) -> Picture:
    return draw_picture(rng, frame, count=1 if rng.random() < 0.8 else 2)


def _add_picture(rng: Random, conversation: Conversation, frame: Size, most: int, *, freely: float) -> None:
    picture = draw_picture(rng, frame)
    _add(rng, conversation, (picture,), lambda: ask(rng, picture), most, freely=freely)


def _add(
    rng: Random,
    conversation: Conversation,
    scenes: tuple[Scene, ...],
    make: Callable[[], Asked],
    count: int,
    *,
    freely: float,
) -> None:
    """Add turns. The first turn contains the scenes. Two turns in a row have different questions."""
    last = None
    for i in range(count):
        asked = make()
        while asked == last:
            asked = make()
        last = asked
        if i and rng.random() < 0.05:
            asked = ask_talk(rng)
        behind = rng.random() < 0.12
        conversation.turns.append(Turn(spoken(rng, asked, freely=freely), scenes if i == 0 else (), behind))
