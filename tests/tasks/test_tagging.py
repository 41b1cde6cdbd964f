"""Words and word pieces: tokenising, labels, decoding, scores."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqeval.metrics
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from trimformer.measure.significance import paired_bootstrap
from trimformer.tasks import Encoded, Examples, Task
from trimformer.tasks.kinds import tokens as tagging
from trimformer.tasks.sources.tag_labels import SPAN_METRICS, label_names

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able", "##ly", "no", "so", "."]


@pytest.fixture
def pieces() -> PreTrainedTokenizerFast:
    """Word pieces in the manner of BERT; control characters vanish."""
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def sentences(*texts: str) -> Examples:
    """Words by spaces; every word has its own label: 10, 11 … in the first sentence, 20, 21 … in the second."""
    words = [tuple(text.split(" ")) for text in texts]
    return Examples(words, None, [tuple(range(10 * n, 10 * n + len(row))) for n, row in enumerate(words, 1)])


def lists(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


def test_a_word_begins_at_its_first_piece(pieces: PreTrainedTokenizerFast) -> None:
    """no.so are three pieces of one word; the mask's name and unknown words are words too."""
    examples = sentences("unable so unably", "no.so [MASK] Ω no")
    arrays = tagging.tokenise(examples, pieces, 16)
    assert lists(arrays) == {
        "ids": [*[2, 5, 6, 9, 1, 3], *[2, 8, 10, 9, 4, 1, 8, 3]],
        "types": [0] * 14,
        "offsets": [0, 6, 14],
        "words": [*[-1, 0, -1, 1, 2, -1], *[-1, 0, -1, -1, 1, 2, 3, -1]],
        "truncated": 0,
    }
    assert {name: array.dtype.name for name, array in arrays.items() if name != "truncated"} == {
        "ids": "int32",
        "types": "uint8",
        "offsets": "int64",
        "words": "int32",
    }
    labels = tagging.labels_of(arrays["words"], arrays["offsets"], examples)
    assert labels.dtype == np.int64
    none = -100
    assert labels.tolist() == [*[none, 10, none, 11, 12, none], *[none, 20, none, none, 21, 22, 23, none]]


def test_words_without_pieces_shift_nothing(pieces: PreTrainedTokenizerFast) -> None:
    examples = sentences("\x07 so \x07 \x07 no", "\x07")
    arrays = tagging.tokenise(examples, pieces, 16)
    assert (arrays["words"].tolist(), int(arrays["truncated"])) == ([-1, 1, 4, -1, -1, -1], 0)
    assert tagging.labels_of(arrays["words"], arrays["offsets"], examples).tolist() == [-100, 11, 14, -100, -100, -100]


@pytest.mark.parametrize("side", ["left", "right"])
def test_long_sentences_lose_words_on_the_right(pieces: PreTrainedTokenizerFast, side: str) -> None:
    """A word that keeps its first piece is not lost."""
    pieces.truncation_side = side
    arrays = tagging.tokenise(sentences("no no no no no no", "so so so unable", "so so so so \x07"), pieces, 6)
    assert arrays["words"].tolist() == [-1, 0, 1, 2, 3, -1] * 3
    assert arrays["offsets"].tolist() == [0, 6, 12, 18]
    assert int(arrays["truncated"]) == 1
    assert pieces.truncation_side == side
    # The next call is as if nothing had been.
    assert len(pieces("no " * 9)["input_ids"]) == 11


def test_chunks_change_nothing(pieces: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = sentences("so no", "unable", "no . so", "so", "unably no")
    whole = lists(tagging.tokenise(examples, pieces, 4))
    monkeypatch.setattr("trimformer.tasks.encoding.chunks.ROWS", 2)
    assert lists(tagging.tokenise(examples, pieces, 4)) == whole


def test_no_types_if_the_tokenizer_makes_none(typeless_tokenizer: PreTrainedTokenizerFast) -> None:
    assert "types" not in tagging.tokenise(sentences("w1 w2"), typeless_tokenizer, 8)


@pytest.mark.parametrize("max_length", [16, 5])
def test_slow_tokenizer_gives_what_a_fast_one_gives(
    pieces: PreTrainedTokenizerFast, tmp_path: Path, max_length: int
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    slow = BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
    slow.model_input_names = pieces.model_input_names
    examples = sentences("unable so unably", "no.so \x07 Ω no", "\x07")
    assert getattr(slow, "backend_tokenizer", None) is None
    assert lists(tagging.tokenise(examples, slow, max_length)) == lists(tagging.tokenise(examples, pieces, max_length))


@pytest.mark.parametrize("in_a_sequence", [False, True])
def test_byte_level_words_have_their_space(in_a_sequence: bool) -> None:
    """However the tokenizer is loaded, words are coded as within running text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("n", "o"), ("Ġ", "no")]
    vocabulary = {token: i for i, token in enumerate(["<pad>", *alphabet, *map("".join, merges)])}

    def tokenizer(prefix: bool) -> PreTrainedTokenizerFast:
        backend = Tokenizer(models.BPE(vocabulary, merges))
        level = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        backend.pre_tokenizer = pre_tokenizers.Sequence([level]) if in_a_sequence else level
        return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", model_input_names=["input_ids"])

    examples = sentences("no no", "é no")
    arrays = tagging.tokenise(examples, tokenizer(prefix=False), 8)
    assert lists(arrays) == lists(tagging.tokenise(examples, tokenizer(prefix=True), 8))
    assert arrays["words"].tolist() == [0, 1, 0, -1, -1, 1]
    assert arrays["ids"][:2].tolist() == [vocabulary["Ġno"]] * 2


def encoded(examples: Examples, arrays: dict[str, np.ndarray]) -> Encoded:
    return Encoded(
        ids=arrays["ids"],
        types=arrays["types"],
        offsets=arrays["offsets"],
        labels=tagging.labels_of(arrays["words"], arrays["offsets"], examples),
        truncated=int(arrays["truncated"]),
        pad_id=0,
        kind="tokens",
        examples=examples,
        words=arrays["words"],
    )


def test_tags_are_read_at_first_pieces(pieces: PreTrainedTokenizerFast) -> None:
    examples = sentences("unable so no no", "\x07 so")
    data = encoded(examples, tagging.tokenise(examples, pieces, 5))
    assert data.ids.tolist() == [2, 5, 6, 9, 3, 2, 9, 3]
    logits = np.eye(8)[[7, 1, 7, 2, 7, 7, 3, 7]]
    first, second = tagging.tags(data, logits)
    assert (first.tolist(), second.tolist()) == ([1, 2, -1, -1], [-1, 3])


def task(*tags: str) -> Task:
    labels = label_names(tags)
    return Task("test", "tokens", labels, SPAN_METRICS if "O" in labels else ("accuracy",), "")


def score(task: Task, truth: list[str], guess: list[str]) -> tuple[np.ndarray, dict[str, float]]:
    """Counts and scores of tags that are written with spaces; '?' is a word without a prediction."""
    ids = {label: i for i, label in enumerate(task.labels)} | {"?": -1}
    rows = [[ids[tag] for tag in tags.split()] for tags in truth]
    examples = Examples([("w",) * len(row) for row in rows], None, [tuple(row) for row in rows])
    none = np.zeros(0, dtype=np.int64)
    data = Encoded(none, None, np.zeros(len(rows) + 1, dtype=np.int64), none, 0, 0, "tokens", examples, words=none)
    counts = tagging.counts(task, data, [np.array([ids[tag] for tag in tags.split()]) for tags in guess])
    return counts, tagging.scores(task, counts)


@pytest.mark.parametrize(
    ("truth", "guess", "want"),
    [
        ("B-A I-A O B-B", "B-A I-A O B-B", [4, 4, 2, 2, 2]),
        # Another type, another end, another beginning: none is right.
        ("B-A I-A O O B-B", "B-B I-B O O B-B", [3, 5, 1, 2, 2]),
        ("B-A I-A O", "B-A O O", [2, 3, 0, 1, 1]),
        ("O B-A I-A", "O O B-A", [1, 3, 0, 1, 1]),
        # Adjacent spans of one type are two.
        ("B-A B-A", "B-A I-A", [1, 2, 0, 1, 2]),
        ("B-A B-A", "B-A B-A", [2, 2, 2, 2, 2]),
        # What is not well formed: I after O opens a span, I of another type opens one inside.
        ("O B-A I-A", "O I-A I-A", [2, 3, 1, 1, 1]),
        ("B-A B-B I-B", "B-A I-B I-B", [2, 3, 2, 2, 2]),
        ("B-A I-A", "B-A I-B", [1, 2, 0, 2, 1]),
        # Types with a dash.
        ("B-A-1 I-A-1 B-A-2", "B-A-1 I-A-1 I-A-2", [2, 3, 2, 2, 2]),
        ("B-A-1 I-A-1", "B-A-2 I-A-2", [0, 2, 0, 1, 1]),
        # Words without prediction end a span.
        ("B-A I-A O", "B-A ? ?", [1, 3, 0, 1, 1]),
        ("O", "?", [0, 1, 0, 0, 0]),
    ],
)
def test_counts_as_conlleval(truth: str, guess: str, want: list[int]) -> None:
    counts, _ = score(task("O", *truth.split(), "B-B", "B-A-2"), [truth], [guess])
    assert counts.tolist() == [want]


def test_scores_are_those_of_seqeval() -> None:
    """Sequences at random, mostly not well formed, compared with the library's own scores over all of them."""
    draw = random.Random(0)
    labels = ["O", "B-A", "I-A", "B-A-B", "I-A-B"]
    truth = [draw.choices(labels, k=draw.randint(1, 12)) for _ in range(300)]
    guess = [[tag if draw.random() < 0.7 else draw.choice(labels) for tag in tags] for tags in truth]
    counts, scores = score(task(*labels), [" ".join(tags) for tags in truth], [" ".join(tags) for tags in guess])
    assert tuple(scores) == SPAN_METRICS
    want = {
        "f1": seqeval.metrics.f1_score(truth, guess),
        "precision": seqeval.metrics.precision_score(truth, guess),
        "recall": seqeval.metrics.recall_score(truth, guess),
        "accuracy": seqeval.metrics.accuracy_score(truth, guess),
    }
    assert scores == pytest.approx(want, abs=1e-12)
    assert 0.5 < scores["f1"] < 0.9
    first = tagging.metric(task(*labels))
    assert first(counts, np.zeros(len(counts))) == scores["f1"]
    assert first(counts[[3, 3, 5]], np.zeros(3)) == tagging.scores(task(*labels), counts[[3, 3, 5]])["f1"]
    better = counts.copy()
    better[:, 2] = better[:, 4]
    better[:, 3] = better[:, 4]
    assert paired_bootstrap(first, counts, better, np.zeros(len(counts)), resamples=50).low > 0


def test_plain_tags_have_accuracy_alone() -> None:
    counts, scores = score(task("NN", "VB"), ["NN VB", "VB"], ["NN NN", "?"])
    assert (counts.tolist(), scores) == ([[1, 2, 0, 0, 0], [0, 1, 0, 0, 0]], {"accuracy": 1 / 3})


def test_no_entity_at_all_scores_zero() -> None:
    assert score(task("O", "B-A"), ["O O"], ["O O"])[1] == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0}


def test_labels_of_a_model_that_are_no_tags_are_outside() -> None:
    """Some models have a label such as X for word pieces."""
    with_x = Task("test", "tokens", ("X", "O", "B-A", "I-A"), SPAN_METRICS, "")
    assert score(with_x, ["B-A I-A O"], ["B-A I-A X"])[0].tolist() == [[2, 3, 1, 1, 1]]
