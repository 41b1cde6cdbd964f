"""Checkpoints and arguments as they come: what is taken, and what is refused with one sentence."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForSequenceClassification,
    BertForTokenClassification,
    ModernBertConfig,
    ModernBertModel,
)

from tests.models import FAMILY_NAMES, padded_batch, tiny
from tests.tinymodel import words_tokenizer, write_stock_bert
from trimformer import (
    Predictor,
    TrimformerError,
    TrimformerForSequenceClassification,
    TrimformerModel,
    export,
    load,
    trim,
)
from trimformer.tasks.kinds.answers import Tags

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 30}


def test_an_exported_tagger_is_still_a_tagger(tmp_path):
    config = BertConfig(**SIZES, id2label={0: "O", 1: "B-X"}, label2id={"O": 0, "B-X": 1})
    BertForTokenClassification(config).save_pretrained(tmp_path / "stock")
    export(load(tmp_path / "stock"), tmp_path / "onnx", precision=["fp32"], tokenizer=words_tokenizer())
    (answer,) = Predictor(tmp_path / "onnx").predict(["good film"])
    assert isinstance(answer, Tags)
    assert len(answer.tags) == 2


def test_a_name_for_positions_that_are_rotary_anyway(tmp_path):
    ModernBertModel(ModernBertConfig(**SIZES, pad_token_id=0)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"position_embedding_type": "sans_pos"}))
    assert isinstance(load(tmp_path), TrimformerModel)


def test_a_multiple_choice_head_is_left_out(tmp_path):
    BertForMultipleChoice(BertConfig(**SIZES)).save_pretrained(tmp_path)
    assert isinstance(load(tmp_path), TrimformerModel)
    assert isinstance(load(tmp_path, labels=["a", "b"]), TrimformerForSequenceClassification)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_row_of_padding_gives_numbers(family):
    model = trim(tiny(family=family), attention={0: "mean", 2: "mean"})
    batch = padded_batch(model)
    batch["attention_mask"][1] = 0
    with torch.no_grad():
        assert model(**batch).logits.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "tags", "labels": ["a"]}, "Unknown kind 'tags'"),
        ({"kind": "tokens"}, "A head for tokens needs label names, at least 1"),
        ({"kind": "multilabel"}, "A head for multilabel needs label names, at least 1"),
        ({"labels": ["a"]}, "A head for classification needs label names, at least 2"),
        ({"kind": "spans", "labels": ["a"]}, "A head for spans has no labels"),
    ],
)
def test_arguments_that_make_no_head(arguments, said, tmp_path):
    folder = write_stock_bert(tmp_path / "bert")
    with pytest.raises(TrimformerError, match=said):
        load(folder, **arguments)


def test_a_bare_shape_has_its_own_head():
    with pytest.raises(TrimformerError, match="has a head already"):
        load("shape:bert-tiny", labels=["a", "b"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "foo"}, "No model can be made"),
        ({"problem_type": "regression"}, "a head for one number has 2 outputs"),
    ],
)
def test_configurations_that_make_no_model(changes, said, tmp_path):
    BertForSequenceClassification(BertConfig(**SIZES)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(TrimformerError, match=said):
        load(tmp_path)
