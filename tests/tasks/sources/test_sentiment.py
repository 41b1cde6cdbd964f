import random
import re

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from trimformer.tasks.data import Examples
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources import sentiment
from trimformer.tasks.sources.sentiment import DENIALS, generate, load
from trimformer.tasks.sources.sentiment_words import BAD, FIELDS, GOOD, RARE_BAD, RARE_GOOD
from trimformer.tasks.task import load_task

GOOD_WORDS = {*GOOD, *RARE_GOOD, *(word for field in FIELDS for word in field.good)}
BAD_WORDS = {*BAD, *RARE_BAD, *(word for field in FIELDS for word in field.bad)}

# What counts, by the form of the sentence: the first pattern that fits holds the deciding words.
DECIDES = [
    r".*would have been .* if the .* had not been so (.*)\.",
    r".*would have been .*, which was (.*)\.",
    r".*[Tt]he .* was ((?:utterly|truly|absolutely|thoroughly|really) [\w-]+).*",
    r"I expected .* but got (.*) one\.",
    r"I got (.*), though I had expected .*",
    r"[Ii]nstead of .* we found (.*) one\.",
    r"[Ww]e found (.*) instead of .*",
    r".* promised .* was given (.*) one\.",
    r"(?:.*\. )?(?:Although|Even though|While) .*, (.*)",
    r"(.*), (?:although|even though|while) .*",
    r"(.*), whatever .*",
    r".*; I found it (.*)|.*, but I found it (.*)",
    r".* used to be .*, and now (.*)",
    r"(.*) now, and it used to be .*",
    r"(?:.*\. )?At first .*, later (.*)",
    r"(.*) once I got used to it, .*",
    r"(?:.*\. )?(?:Honestly, |All in all, |I have to say that )?[Tt]he (?!last)[\w -]+ was ([\w -]+)\.",
    r".*(?:, but |, yet |; still, |, but in the end )(?!the .* (?:more than|made me))(.*)",
]


@pytest.fixture(scope="module")
def splits() -> tuple[Examples, Examples]:
    return load()[1:]


def polarity(phrase: str) -> int | None:
    """The sign of the one judgement in a phrase, turned round by a denial."""
    words = re.findall(r"[\w-]+", phrase)
    signs = [1 for word in words if word in GOOD_WORDS] + [0 for word in words if word in BAD_WORDS]
    denied = any(f"{denial} " in phrase for denial in DENIALS)
    return signs[0] ^ denied if len(signs) == 1 else None


def test_sizes_balance_and_no_overlap(splits: tuple[Examples, Examples]) -> None:
    train, validation = splits
    assert (len(train), len(validation)) == (4000, 1000)
    assert (sum(train.labels), sum(validation.labels)) == (2000, 500)
    assert len({*train.texts, *validation.texts}) == 5000


def test_same_seed_same_sentences() -> None:
    assert generate(50, seed=3) == generate(50, seed=3)
    assert generate(50, seed=3).texts != generate(50, seed=4).texts


def test_judgements_are_of_one_kind() -> None:
    assert not GOOD_WORDS & BAD_WORDS


def test_labels_follow_the_grammar(splits: tuple[Examples, Examples]) -> None:
    checked = 0
    for text, label in zip(splits[0].texts, splits[0].labels, strict=True):
        for pattern in DECIDES:
            if match := re.fullmatch(pattern, text):
                decisive = polarity(next(group for group in match.groups() if group))
                assert decisive in (label, None), text
                checked += decisive is not None
                break
    assert checked > 2000


DOUBTS = r"(?:I would not say|Nobody can tell me|It is not true|I cannot claim) that (.*)\."
REPORTED = r".* (?:thought|wrote|told us) that (.*), and "
SHARED = REPORTED + r"(?:I feel the same|I have to agree|I would say so too|that is what I think)\."
UNSHARED = REPORTED + r"(?:I feel otherwise|I cannot agree|I would not say so|that is not what I think)\."


def test_what_is_said_of_a_judgement_turns_it_round(splits: tuple[Examples, Examples]) -> None:
    """Denied twice over, and another's verdict that is shared or not: the sign is the product of all."""
    counts = {DOUBTS: 0, SHARED: 0, UNSHARED: 0}
    for text, label in zip(splits[0].texts, splits[0].labels, strict=True):
        for pattern in counts:
            if match := re.fullmatch(rf"(?:.*\. )?{pattern}", text):
                sign = polarity(match[1])
                assert sign is not None, text
                assert (sign if pattern == SHARED else 1 - sign) == label, text
                counts[pattern] += 1
    assert min(counts.values()) > 50


def test_most_of_three_judgements_decide(splits: tuple[Examples, Examples]) -> None:
    found = 0
    for text, label in zip(splits[0].texts, splits[0].labels, strict=True):
        if match := re.fullmatch(r"(?:.*\. )?(The .* was .*), (the .* was .*) and (the .* was .*)\.", text):
            signs = [polarity(clause) for clause in match.groups()]
            if None not in signs:
                assert sorted(sign or 0 for sign in signs)[1] == label, text
                found += 1
    assert found > 200


def test_some_words_are_on_validation_alone(splits: tuple[Examples, Examples]) -> None:
    train, validation = (
        {word for text in split.texts for word in re.findall(r"[\w-]+", text.lower())} for split in splits
    )
    rare = {*RARE_GOOD, *RARE_BAD}
    assert not rare & train
    assert rare <= validation
    assert not rare & {*GOOD, *BAD, *(word for field in FIELDS for word in (*field.good, *field.bad))}


def test_rare_words_are_drawn_as_often_as_asked() -> None:
    writer = sentiment._Writer(random.Random(0), FIELDS[0], rare=0.15)
    drawn = [writer.word(True) in RARE_GOOD for _ in range(2000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.15, abs=0.03)


def test_counting_words_does_not_solve_it(splits: tuple[Examples, Examples]) -> None:
    train, validation = splits
    bag = CountVectorizer()
    model = LogisticRegression(max_iter=1000).fit(bag.fit_transform(train.texts), train.labels)
    assert model.score(bag.transform(validation.texts), validation.labels) < 0.70


def test_loads_as_a_task() -> None:
    data = load_task(TaskSettings(name="sentiment"))
    assert (len(data.train), len(data.selection), len(data.validation)) == (3400, 600, 1000)
    assert data.task.labels == ("negative", "positive")
