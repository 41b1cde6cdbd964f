from __future__ import annotations

from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from trimformer.tasks.encoding.cache import fingerprint

from .conftest import Words


def test_fingerprints(tokenizer: PreTrainedTokenizerFast, roberta: PreTrainedTokenizerFast, slow: Words) -> None:
    different: list[PreTrainedTokenizerBase] = [
        tokenizer,
        roberta,
        slow,
        Words(slow.words, lower=True),
        Words([*slow.words[:-1], "x19"]),
        ByT5Tokenizer(),
    ]
    prints = [fingerprint(one) for one in different]
    assert len(set(prints)) == len(different)
    for one in different:  # a call leaves its settings behind in a fast tokenizer
        one(["w0 w1"], padding="max_length", truncation=True, max_length=5)
    assert [fingerprint(one) for one in different] == prints
    assert fingerprint(Words(slow.words)) == fingerprint(slow)
