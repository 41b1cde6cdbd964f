import re

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from trimformer.tasks.data import Examples
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.sentiment import DENIALS, generate, load
from trimformer.tasks.sources.sentiment_words import BAD, FIELDS, GOOD
from trimformer.tasks.task import load_task

GOOD_WORDS = {*GOOD, *(word for field in FIELDS for word in field.good)}
BAD_WORDS = {*BAD, *(word for field in FIELDS for word in field.bad)}

# What counts, by the form of the sentence: the first pattern that fits holds the deciding words.
DECIDES = [
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


def test_counting_words_does_not_solve_it(splits: tuple[Examples, Examples]) -> None:
    train, validation = splits
    bag = CountVectorizer()
    model = LogisticRegression(max_iter=1000).fit(bag.fit_transform(train.texts), train.labels)
    assert model.score(bag.transform(validation.texts), validation.labels) < 0.70


def test_loads_as_a_task() -> None:
    data = load_task(TaskSettings(name="sentiment"))
    assert (len(data.train), len(data.selection), len(data.validation)) == (3400, 600, 1000)
    assert data.task.labels == ("negative", "positive")
