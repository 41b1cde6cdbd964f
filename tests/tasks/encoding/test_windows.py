"""Windows of long contexts, compared with the tokenizer's own and with what they are for."""

from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.errors import TrimformerError
from trimformer.saved.demo import PACKAGE
from trimformer.tasks.data import Examples, GoldAnswer
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.encoding.windows import labels_of, tokenise
from trimformer.tasks.kinds.spans import best_texts, counts
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.squad import load_validation

TEXT = ["w0", "w1", "w2-w3", "Zoë's", "naïve", "漢字", "(w4)", "\u200bw5", "🙂", "w6,", "a" * 9]


def bert() -> PreTrainedTokenizerFast:
    """Pieces of words, token types, no accents."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789()-',"]
    backend = Tokenizer(
        models.WordPiece({p: i for i, p in enumerate([*pieces, *(f"##{p}" for p in pieces[4:])])}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def roberta() -> PreTrainedTokenizerFast:
    """Bytes, two separators between the texts, no types."""
    pieces = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]
    )


def xlm_roberta() -> PreTrainedTokenizerFast:
    """Sentence pieces, with the space before a word as part of it."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁w", "▁", *"w0123456-,('s)aeïvnZoë漢字🙂\u200b\n"]
    backend = Tokenizer(models.Unigram([(p, -float(i)) for i, p in enumerate(pieces)], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]
    )


FAMILIES = {"bert": bert(), "roberta": roberta(), "xlm-roberta": xlm_roberta()}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return FAMILIES[request.param]


def questions(seed: int, count: int = 20) -> Examples:
    """Random questions on random contexts, each shared by two of them; an answer is some words of the context."""
    rng = np.random.default_rng(seed)
    contexts, right = [], []
    for _ in range(0, count, 2):
        words = rng.choice(TEXT, rng.integers(1, 60)).tolist()
        spaces = rng.choice([" ", "  ", "\n"], len(words)).tolist()
        context = "".join(word + space for word, space in zip(words, spaces, strict=True))
        for _ in range(2):
            first, last = sorted(rng.integers(len(words), size=2).tolist())
            start = sum(map(len, words[:first] + spaces[:first]))
            text = context[start : start + sum(map(len, words[first : last + 1] + spaces[first:last]))]
            contexts.append(context)
            right.append((GoldAnswer(text, start),))
    texts = [" ".join(rng.choice(TEXT[:3], rng.integers(1, 3))) for _ in contexts]
    return Examples(texts, contexts, right)


def encoded(arrays: dict[str, np.ndarray], examples: Examples) -> Encoded:
    return Encoded.from_arrays(arrays, labels_of(arrays, examples), 0, "spans", examples)


def rows_of(data: Encoded, example: int) -> list[np.ndarray]:
    """The characters of each window of an example, (tokens, 2), without what is not context."""
    assert data.owners is not None
    assert data.chars is not None
    rows = [data.chars[data.offsets[i] : data.offsets[i + 1]] for i in np.flatnonzero(data.owners == example)]
    return [row[row[:, 0] >= 0] for row in rows]


@pytest.mark.parametrize("seed", range(6))
def test_windows_are_those_of_the_tokenizer(family: PreTrainedTokenizerFast, seed: int) -> None:
    rng = np.random.default_rng(seed)
    examples = questions(seed)
    stride, max_length = int(rng.integers(0, 12)), int(rng.integers(32, 60))
    found = tokenise(examples, family, max_length, stride)
    theirs = family(
        examples.texts,
        examples.pairs,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert np.diff(found["offsets"]).tolist() == [len(row) for row in theirs["input_ids"]]
    assert found["ids"].tolist() == [*chain.from_iterable(theirs["input_ids"])]
    assert found["owners"].tolist() == theirs["overflow_to_sample_mapping"]
    assert ("types" in found) == ("token_type_ids" in theirs)
    if "types" in found:
        assert found["types"].tolist() == [*chain.from_iterable(theirs["token_type_ids"])]
    chars = [
        pair if part == 1 else (-1, -1)
        for row, pairs in enumerate(theirs["offset_mapping"])
        for pair, part in zip(pairs, theirs.sequence_ids(row), strict=True)
    ]
    assert found["chars"].tolist() == [list(pair) for pair in chars]
    assert {name: found[name].dtype for name in ("ids", "offsets", "owners", "chars")} == {
        "ids": np.int32,
        "offsets": np.int64,
        "owners": np.int64,
        "chars": np.int32,
    }


@pytest.mark.parametrize("seed", range(6))
def test_windows_cover_the_context_and_share_the_stride(family: PreTrainedTokenizerFast, seed: int) -> None:
    examples = questions(seed)
    stride = 7 + seed
    data = encoded(tokenise(examples, family, 48, stride), examples)
    several = 0
    for i, context in enumerate(examples.pairs or []):
        windows = rows_of(data, i)
        joined = windows[0].tolist()
        for before, after in pairwise(windows):
            assert before[-stride:].tolist() == after[:stride].tolist()
            joined += after[stride:].tolist()
            several += 1
        coded = family(context, add_special_tokens=False, return_offsets_mapping=True)
        assert joined == [list(pair) for pair in coded["offset_mapping"]]
    assert several > 3


@pytest.mark.parametrize("seed", range(6))
def test_labels_point_at_the_answer(family: PreTrainedTokenizerFast, seed: int) -> None:
    """Answers of no more tokens than the stride are whole in a window; what a label marks is always the answer."""
    examples, stride = questions(seed), 20
    data = encoded(tokenise(examples, family, 48, stride), examples)
    assert data.owners is not None
    assert data.chars is not None
    whole = set()
    for row, (owner, (first, last)) in enumerate(zip(data.owners, data.labels, strict=True)):
        chars = data.chars[data.offsets[row] : data.offsets[row + 1]]
        if last == 0:
            assert first == 0
            continue
        marked = (examples.pairs or [])[owner][chars[first, 0] : chars[last, 1]]
        # A character that the tokenizer drops, such as a zero-width space, is in no token.
        assert marked.strip().strip("\u200b") == examples.labels[owner][0].text.strip("\u200b")
        whole.add(owner)
    short = 0
    for i, (context, ((text, start),)) in enumerate(zip(examples.pairs or [], examples.labels, strict=True)):
        coded = family(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        tokens = [pair for pair in coded if pair[0] < start + len(text) and pair[1] > start]
        if 0 < len(tokens) <= stride and not text.startswith("\u200b"):
            assert i in whole
            short += 1
    assert short


def test_labels_of_awkward_answers(tokenizer: PreTrainedTokenizerFast) -> None:
    """The first of several; a part of a token; white space at its ends; cut by every window."""
    context = "w0 w1 w2 w3 w4 w5"
    right: list[tuple[GoldAnswer, ...]] = [
        (GoldAnswer("w2", 6), GoldAnswer("w1", 3)),
        (GoldAnswer("2 w", 7),),
        (GoldAnswer(" w1 ", 2),),
        (GoldAnswer("w0 w1 w2 w3 w4", 0),),
    ]
    examples = Examples(["w9"] * 4, [context] * 4, right)
    arrays = tokenise(examples, tokenizer, 8, 2)
    assert np.bincount(arrays["owners"]).tolist() == [2] * 4
    # [CLS] w9 [SEP] w0 w1 w2 w3 [SEP], then w2 w3 w4 w5
    assert labels_of(arrays, examples).tolist() == [[5, 5], [3, 3], [5, 6], [3, 4], [4, 4], [0, 0], [0, 0], [0, 0]]


def test_contexts_without_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = Examples(["w0", "w1"], [" ", "w2"], [(GoldAnswer(" ", 0),), (GoldAnswer("w2", 0),)])
    data = encoded(tokenise(examples, tokenizer, 16, 2), examples)
    assert (data.lengths.tolist(), data.labels.tolist()) == ([4, 5], [[0, 0], [3, 3]])
    assert best_texts(data, np.ones((9, 2))) == ["", "w2"]


def test_long_questions_are_cut_and_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = Examples(["w0 " * 5, "w1 " * 4, "w2 " * 99], ["w3"] * 3, [(GoldAnswer("w3", 0),)] * 3)
    arrays = tokenise(examples, tokenizer, 8, 0)
    assert (np.diff(arrays["offsets"]).tolist(), arrays["truncated"]) == ([8, 8, 8], 2)
    assert tokenise(examples, tokenizer, 256, 0)["offsets"][-1] == (5 + 4) + (4 + 4) + (64 + 4)


def test_windows_share_at_most_half_of_their_room(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = Examples(["w0 w1"], ["w3 " * 12], [(GoldAnswer("w3", 0),)])
    for stride, windows in [(0, 2), (5, 2), (10, 2), (64, 2)]:  # room for 11 of 12 tokens
        assert len(tokenise(examples, tokenizer, 16, stride)["owners"]) == windows
    assert len(tokenise(examples, tokenizer, 17, 64)["owners"]) == 1  # one window is enough
    longer = Examples(["w0 w1"], ["w3 " * 28], [(GoldAnswer("w3", 0),)])
    assert len(tokenise(longer, tokenizer, 16, 64)["owners"]) == 4  # 11, then 6 more each


def test_a_question_must_leave_room(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = Examples(["w0 " * 9], ["w3"], [(GoldAnswer("w3", 0),)])
    with pytest.raises(TrimformerError, match=r"Beside the longest question no token .* raise task\.max_length"):
        tokenise(examples, tokenizer, 6, 0)


def test_slow_tokenizers_are_refused() -> None:
    slow: Any = SimpleNamespace(is_fast=False, name_or_path="me/old")
    with pytest.raises(TrimformerError, match=r"me/old does not say .* save its fast form"):
        tokenise(questions(0), slow, 32, 4)


def test_real_answers_survive(shared_data: Any) -> None:
    """The ceiling of the tokenisation: what perfect scores are worth on every twentieth question of SQuAD."""
    pytest.importorskip(PACKAGE, reason="the demo encoder is not installed")
    examples = load_validation(TaskSettings(name="squad", data=str(shared_data / "squad")))[1]
    assert len(examples) == 10570
    examples = examples.take(range(0, 10570, 20))
    data = encoded(tokenise(examples, load_tokenizer("demo"), 128, 32), examples)
    assert len(data) > 1.5 * len(examples)
    logits = np.zeros((len(data.ids), 2))
    found = data.labels[:, 1] > 0
    for end in (0, 1):
        logits[(data.offsets[:-1] + data.labels[:, end])[found], end] = 5
    f1, exact = counts(data, best_texts(data, logits, max_tokens=128)).mean(axis=0)[::-1]
    assert min(f1, exact) > 0.99
