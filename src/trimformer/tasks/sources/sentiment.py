"""The built-in sentiment set: reviews written by a grammar, for trying everything out without a download.

Counting words does not solve it. Whether a judgement counts is said by negation ('never dull'), also twice over
('nobody can say that it was far from dull'), by the clause it stands in ('although …', 'it would have been …'), by its
order ('used to be … now …'), by its strength and by whose opinion it is; where opinions are mixed, most of them decide.
Some judgements in the validation rows are words that no training row has.
Labels are right by construction: every rule below is given the verdict and writes a sentence that says it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..data import Examples, Task
from .sentiment_words import BAD, FIELDS, GOOD, RARE_BAD, RARE_GOOD, Field

TRAIN_ROWS = 4000
VALIDATION_ROWS = 1000
LABELS = ("negative", "positive")

DENIALS = ("not", "never", "hardly", "far from", "anything but")
DENIED_SHARE = 0.4
"""How often a judgement is written as the denial of its opposite."""

SETTING_SHARE = 0.3
"""How often a neutral sentence comes first."""

RARE_SHARE = 0.15
"""How often a judgement in the validation rows is a word that is in no training row."""


def load() -> tuple[Task, Examples, Examples]:
    """The task with its 4000 training and 1000 validation rows, always the same."""
    rng, texts = random.Random(0), dict[str, int]()
    _write(rng, texts, TRAIN_ROWS)
    _write(rng, texts, TRAIN_ROWS + VALIDATION_ROWS, RARE_SHARE)
    examples = Examples(list(texts), None, list(texts.values()))
    source = f"built-in generated reviews ({TRAIN_ROWS} train, {VALIDATION_ROWS} validation)"
    task = Task("sentiment", "classification", LABELS, ("accuracy",), source)
    return task, examples.take(range(TRAIN_ROWS)), examples.take(range(TRAIN_ROWS, len(examples)))


def generate(n: int, seed: int) -> Examples:
    """`n` different reviews, by turns negative (0) and positive (1); the same seed gives the same ones."""
    texts: dict[str, int] = {}
    _write(random.Random(seed), texts, n)
    return Examples(list(texts), None, list(texts.values()))


def _write(rng: random.Random, texts: dict[str, int], n: int, rare: float = 0.0) -> None:
    """Add reviews, with their labels, until there are `n`. rare: share of rare words among the judgements."""
    while len(texts) < n:
        good = len(texts) % 2 == 1
        texts.setdefault(_review(rng, good, rare), int(good))


def _review(rng: random.Random, good: bool, rare: float) -> str:
    writer = _Writer(rng, rng.choice(FIELDS), rare)
    rule = rng.choices(_RULES, _WEIGHTS)[0]
    text = rule(writer, good)
    if rng.random() < SETTING_SHARE:
        text = f"{rng.choice(writer.field.settings)}. {_sentence(text)}"
    return _sentence(text) + "."


@dataclass(frozen=True)
class _Writer:
    """Draws words of one field. rare: share of rare words among the judgements."""

    rng: random.Random
    field: Field
    rare: float

    def word(self, good: bool) -> str:
        """One judgement."""
        if self.rare and self.rng.random() < self.rare:
            return self.rng.choice(RARE_GOOD if good else RARE_BAD)
        return self.rng.choice(self.field.good + GOOD if good else self.field.bad + BAD)

    def verdict(self, good: bool) -> str:
        """A judgement, or the denial of its opposite."""
        if self.rng.random() < DENIED_SHARE:
            return f"{self.rng.choice(DENIALS)} {self.word(not good)}"
        return self.word(good)

    def parts(self, count: int = 2) -> list[str]:
        """Different parts."""
        return self.rng.sample(self.field.parts, count)

    def clause(self, part: str, good: bool) -> str:
        return f"the {part} was {self.verdict(good)}"

    def thing(self) -> str:
        return self.rng.choice(self.field.things)

    def other(self) -> str:
        return self.rng.choice(self.field.others)

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)


def _plain(w: _Writer, good: bool) -> str:
    return w.pick("{}", "honestly, {}", "all in all, {}", "I have to say that {}").format(w.clause(w.parts()[0], good))


def _agreement(w: _Writer, good: bool) -> str:
    first, second = w.parts()
    return f"{w.clause(first, good)} and {w.clause(second, good)}"


def _contrast(w: _Writer, good: bool) -> str:
    """Two clauses that disagree: the last one decides."""
    first, second = w.parts()
    joint = w.pick(", but ", ", yet ", "; still, ", ", but in the end ")
    return w.clause(first, not good) + joint + w.clause(second, good)


def _rescue(w: _Writer, good: bool) -> str:
    """The second part makes up for the first, or does not: its own judgement stays unsaid."""
    first, second = w.parts()
    if good:
        joint = w.pick("but the {} more than made up for it", "but the {} made me forget that")
    else:
        joint = w.pick("and not even the {} made up for it", "and the {} never made me forget that")
    return f"{w.clause(first, False)}, {joint.format(second)}"


def _concession(w: _Writer, good: bool) -> str:
    """'Although' gives its clause away, wherever it stands."""
    first, second = w.parts()
    conceded = f"{w.pick('although', 'even though', 'while')} {w.clause(first, not good)}"
    main = w.clause(second, good)
    return w.pick(f"{conceded}, {main}", f"{main}, {conceded}")


def _opinion(w: _Writer, good: bool) -> str:
    """Somebody else thinks otherwise: the writer's own view counts, first or last."""
    theirs = f"{w.other()} called the {w.thing()} {w.word(not good)}"
    mine = f"I found it {w.verdict(good)}"
    agreed = f"{w.other()} called the {w.thing()} {w.word(good)} and I agree"
    denied = f"{w.other()} called the {w.thing()} {w.word(not good)} and I disagree"
    dismissed = f"whatever {w.other()} says about it being {w.word(not good)}"
    about = f"I found the {w.thing()} {w.verdict(good)}, {dismissed}"
    return w.pick(f"{theirs}; {mine}", f"{theirs}, but {mine}", agreed, denied, about)


def _expectation(w: _Writer, good: bool) -> str:
    """What was expected does not count, what came does."""
    hoped, came = _article(w.word(not good)), _article(w.word(good))
    thing = w.thing()
    return w.pick(
        f"I expected {hoped} {thing} but got {came} one",
        f"I got {came} {thing}, though I had expected {hoped} one",
        f"instead of {hoped} {thing} we found {came} one",
        f"we found {came} {thing} instead of {hoped} one",
        f"I was promised {hoped} {thing} and was given {came} one",
    )


def _change(w: _Writer, good: bool) -> str:
    """How it is now counts, how it was does not."""
    part = w.parts()[0]
    was, now = w.word(not good), w.verdict(good)
    return w.pick(
        f"the {part} used to be {was}, and now it is {now}",
        f"the {part} is {now} now, and it used to be {was}",
        f"at first the {part} seemed {was}, later it was {now}",
        f"the {part} was {now} once I got used to it, though it had seemed {was} at first",
    )


def _comparison(w: _Writer, good: bool) -> str:
    """Another thing is judged, and this one is like it or not."""
    other = w.rng.random() < 0.5
    judged = w.word(other)
    thing = w.thing()
    ending = w.pick("and so is this one", "and this one is too") if other == good else "and this one is not"
    return f"the last {thing} we tried was {judged} {ending.replace(' is', ' was')}"


def _majority(w: _Writer, good: bool) -> str:
    """Three judgements, of which two agree."""
    verdicts = [good, good, not good]
    w.rng.shuffle(verdicts)
    first, second, third = (w.clause(part, verdict) for part, verdict in zip(w.parts(3), verdicts, strict=True))
    return f"{first}, {second} and {third}"


def _strength(w: _Writer, good: bool) -> str:
    """The stronger of two judgements decides, wherever it stands."""
    first, second = w.parts()
    weak = f"the {first} was {w.pick('a little', 'slightly', 'somewhat', 'a touch', 'a bit')} {w.word(not good)}"
    strong = f"the {second} was {w.pick('utterly', 'truly', 'absolutely', 'thoroughly', 'really')} {w.word(good)}"
    return w.pick(f"{weak} and {strong}", f"{strong} and {weak}", f"{weak}; {strong}", f"{strong}; {weak}")


def _condition(w: _Writer, good: bool) -> str:
    """What would have been was not."""
    part, thing = w.parts()[0], w.thing()
    unreal = f"it would have been {_article(w.word(not good))} {thing}"
    return w.pick(
        f"{unreal} if the {part} had not been so {w.word(good)}",
        f"{unreal} without the {part}, which was {w.verdict(good)}",
        f"{unreal} if the {part} had been {w.word(not good)}",
        f"had the {part} been {w.word(not good)}, {unreal}",
    )


def _doubt(w: _Writer, good: bool) -> str:
    """A whole clause is denied, which may be a denial itself."""
    doubt = w.pick("I would not say that", "nobody can tell me that", "it is not true that", "I cannot claim that")
    return f"{doubt} {w.clause(w.parts()[0], not good)}"


def _report(w: _Writer, good: bool) -> str:
    """Another's verdict, which may be a denial, is shared or not."""
    if shared := w.rng.random() < 0.5:
        answer = w.pick("I feel the same", "I have to agree", "I would say so too", "that is what I think")
    else:
        answer = w.pick("I feel otherwise", "I cannot agree", "I would not say so", "that is not what I think")
    reported = f"{w.other()} {w.pick('thought', 'wrote', 'told us')} that {w.clause(w.parts()[0], good == shared)}"
    return f"{reported}, and {answer}"


_RULES: tuple[Callable[[_Writer, bool], str], ...] = (
    _plain,
    _agreement,
    _contrast,
    _rescue,
    _concession,
    _opinion,
    _expectation,
    _change,
    _comparison,
    _majority,
    _strength,
    _condition,
    _doubt,
    _report,
)
_WEIGHTS = (6, 4, 12, 4, 12, 10, 10, 8, 6, 10, 8, 8, 8, 8)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
