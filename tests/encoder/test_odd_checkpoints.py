"""Folders that are almost a model: what their config.json, index and weights say is checked before it is used."""

import errno
import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.tinymodel import words_tokenizer, write_stock_bert
from trimformer import TrimformerError, load
from trimformer.encoder.checkpoints.load import load_tokenizer, read_checkpoint
from trimformer.saved.tokenizer_check import reading_notes


@pytest.fixture
def folder(tmp_path):
    return write_stock_bert(tmp_path / "m", ["a", "b"])


def change(folder, name="config.json", **values):
    content = json.loads((folder / name).read_text()) | values
    (folder / name).write_text(json.dumps(content))


def change_weights(folder, made):
    save_file(made(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def test_label_names_are_ordered_by_their_ids(tmp_path):
    names = [f"n{i}" for i in range(12)]
    folder = write_stock_bert(tmp_path / "m", names)
    change(folder, id2label={str(i): f"n{i}" for i in (0, 1, 10, 11, *range(2, 10))})
    assert load(folder).config.label_names == names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"0": "a", "2": "b"}, "none with id 1"),
        ({"1": "a", "2": "b"}, "none with id 0"),
        ({"0": "a", "00": "b"}, "none with id 1"),
        ({"0": "a", "1": "a"}, "names two outputs 'a'"),
        ({"no": "a", "1": "b"}, "has 'no' where an id belongs"),
        (["a", "b"], "is not an object of ids and names"),
    ],
)
def test_label_names_that_leave_an_output_open(folder, names, said):
    change(folder, id2label=names)
    with pytest.raises(TrimformerError, match=said):
        load(folder)


@pytest.mark.parametrize(
    "name", ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
)
@pytest.mark.parametrize("value", ["16", None, 2.5, [2], 0, -1, True, 10**12])
def test_sizes_that_are_none(folder, name, value):
    change(folder, **{name: value})
    with pytest.raises(TrimformerError, match=f"{name} in .* is .*, not a whole number"):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"max_position_embeddings": "x"},
        {"type_vocab_size": -1},
        {"layer_norm_eps": "small"},
        {"hidden_dropout_prob": [0.1]},
        {"hidden_dropout_prob": -3},
        {"pad_token_id": "0"},
        {"pad_token_id": 99},
        {"hidden_act": 3},
        {"hidden_act": None},
        {"classifier_dropout": "x"},
        {"problem_type": 7},
        {"classifier_pooling": "max"},
        {"num_attention_heads": 3},
        {"model_type": ["bert"]},
        {"architectures": "BertModel", "hidden_size": 17},
    ],
)
def test_other_odd_values(folder, values):
    change(folder, **values)
    with pytest.raises(TrimformerError):
        load(folder)


@pytest.mark.parametrize("layers", [7, ["x"], [{}], [{"attention": "full", "heads": "2", "head_size": 8, "ffn": 24}]])
def test_odd_layers_of_our_own_format(folder, layers, tmp_path):
    load(folder).save_pretrained(tmp_path / "ours")
    change(tmp_path / "ours", layers=layers)
    with pytest.raises(TrimformerError):
        load(tmp_path / "ours")


@pytest.mark.parametrize(
    "values", [{"vocab_size": 20_000_000, "hidden_size": 4096}, {"num_hidden_layers": 900}, {"num_labels": 900_000}]
)
def test_what_the_weight_file_does_not_bear_out_is_not_built(folder, values):
    if "num_labels" in values:
        change(folder, id2label={str(i): f"n{i}" for i in range(values["num_labels"])})
    else:
        change(folder, **values)
    start = time.process_time()
    with pytest.raises(TrimformerError, match="do not fit the shape") as found:
        load(folder)
    assert time.process_time() - start < 20
    assert len(str(found.value)) < 1000


def test_nesting_without_end(folder):
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(TrimformerError, match="nested too deeply"):
        load(folder)


def test_a_message_is_bounded():
    assert len(str(TrimformerError("x" * 10**6))) < 2100


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": []}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../m/model.safetensors"}}]
)
def test_an_index_that_names_no_files_in_its_folder(folder, index):
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TrimformerError, match="save the model again"):
        load(folder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod."])
def test_prefixes_of_wrappers_are_stripped(folder, prefix):
    ids = torch.tensor([[2, 5, 3]])
    before = load(folder)(ids).logits
    change_weights(folder, lambda weights: {prefix + name: weight for name, weight in weights.items()})
    assert torch.equal(load(folder)(ids).logits, before)


def test_weights_that_nothing_uses_are_named(folder, capsys):
    change_weights(folder, lambda weights: weights | {"classifier_2.weight": torch.ones(2)})
    assert read_checkpoint(folder).unused == ("classifier_2.weight",)
    load(folder)
    assert "were not used: classifier_2.weight." in capsys.readouterr().err


def test_what_pre_training_left_behind_is_not(folder):
    more = {"cls.predictions.bias": torch.ones(2), "bert.embeddings.position_ids": torch.ones(2)}
    change_weights(folder, lambda weights: weights | more)
    assert read_checkpoint(folder).unused == ()


def test_modules_and_pickled_heads_beside_it_are_named(folder):
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "model_head.pkl").write_bytes(b"")
    assert read_checkpoint(folder).unused == ("Pooling", "model_head.pkl")


def test_an_adapter_is_refused(folder):
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(TrimformerError, match="merge it first"):
        load(folder)
    (folder / "adapter_config.json").unlink()
    change_weights(folder, lambda weights: weights | {"bert.encoder.layer.0.x.lora_A.weight": torch.ones(2)})
    with pytest.raises(TrimformerError, match="merge it first"):
        load(folder)


def test_a_crf_is_refused_unless_the_head_is_new(folder):
    change_weights(folder, lambda weights: weights | {"crf.transitions": torch.ones(2, 2)})
    with pytest.raises(TrimformerError, match="decides on tags with a CRF"):
        load(folder)
    assert load(folder, labels=["x", "y"]).config.label_names == ["x", "y"]


@pytest.mark.parametrize("length", [-1, 0, "x", None])
def test_a_longest_input_that_is_none(folder, length):
    change(folder, "tokenizer_config.json", model_max_length=length)
    if length is None:  # the file leaves it open
        assert load_tokenizer(folder).model_max_length > 0
        return
    with pytest.raises(TrimformerError):
        load_tokenizer(folder)


def test_tokens_that_have_no_embedding(folder):
    tokenizer = words_tokenizer()
    tokenizer.add_tokens([f"new{i}" for i in range(20)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(TrimformerError, match="gives 'new19' the id 39, and the encoder has embeddings"):
        load_tokenizer(folder)


def test_segments_that_the_model_does_not_have_are_dropped(folder):
    tokenizer = words_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    change(folder, "tokenizer_config.json", model_input_names=tokenizer.model_input_names)
    assert "token_type_ids" in load_tokenizer(folder)("good film", "bad film")
    change(folder, type_vocab_size=1)
    assert "token_type_ids" not in load_tokenizer(folder)("good film", "bad film")


def test_a_file_of_another_model_than_the_configuration_says(folder):
    """Without ``tokenizer_class`` transformers makes a WordPiece tokenizer for BERT, whatever the file holds."""
    pieces = [("<unk>", 0.0), *((letter, -2.0) for letter in "▁abdfgilmo")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"pad_token": "<unk>", "unk_token": "<unk>"}')
    found = reading_notes(load_tokenizer(folder), folder, ["good film", "bad film"])
    assert "reads 2 of 2 texts otherwise than tokenizer.json says" in found[0]


def test_texts_that_are_read_otherwise_than_the_file_says(folder):
    tokenizer = load_tokenizer(folder)
    assert reading_notes(tokenizer, folder, ["good film", "bad film"]) == []
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    odd, unknown = reading_notes(tokenizer, folder, ["GOOD FILM", "bad film"])
    assert "reads 1 of 2 texts otherwise than tokenizer.json says" in odd
    assert "50 % of the tokens of the first 2 texts are unknown" in unknown


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_this_user_may_not_read_is_not_called_damaged(folder, name, monkeypatch):
    opened = Path.open

    def refuse(path, *how, **more):
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        TrimformerError, match=rf"{name} cannot be read \(Permission denied\): give this user the right"
    ):
        read_checkpoint(folder)
