"""Loading checks what it reads, and says what is wrong."""

import errno
import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceTrainer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.encoder.test_convert import answers, stock
from tests.models import padded_batch, tiny
from trimformer import TrimformerError, TrimformerModel, load, trim
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.encoder.model.heads import TrimformerForQuestionAnswering, TrimformerForTokenClassification


@pytest.fixture
def folder(tmp_path):
    trim(tiny(), attention={1: "mean"}).save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def loaders():
    return [load, AutoModelForSequenceClassification.from_pretrained]


@pytest.mark.parametrize("loader", loaders())
def test_a_missing_layer_fails_loudly(folder, loader):
    rewrite(folder, lambda w: w.pop("encoder.layers.2.attention.query.weight"))
    with pytest.raises(TrimformerError, match=r"layers\.2\.attention\.query\.weight is missing"):
        loader(folder)


@pytest.mark.parametrize("loader", loaders())
def test_left_over_weights_fail_loudly(folder, loader):
    config = json.loads((folder / "config.json").read_text())
    config["layers"][2]["attention"] = "mean"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrimformerError, match=r"layers\.2\.attention\.(key|query)\.\w+ is not in the shape"):
        loader(folder)


@pytest.mark.parametrize("loader", loaders())
def test_wrong_sizes_fail_loudly(folder, loader):
    config = json.loads((folder / "config.json").read_text())
    config["layers"][0]["ffn"] = 20
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrimformerError, match="do not fit the shape"):
        loader(folder)


def test_a_truncated_file_is_named(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(TrimformerError, match=r"model\.safetensors cannot be read, it is truncated"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_may_not_be_read_is_not_called_broken(folder, monkeypatch, name):
    """Root may read everything, so that the refusal is made up."""
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        TrimformerError, match=rf"{name} cannot be read \(Permission denied\): give this user the right"
    ):
        load(folder)


def test_a_missing_weight_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(TrimformerError, match="weight file is missing"):
        load(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TrimformerError, match="can run code"):
        load(folder)


def test_a_foreign_weight_file_is_refused(folder):
    save_file({"something.else": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(TrimformerError, match=r"something\.else is not in the shape|is missing"):
        load(folder)


def test_an_unsupported_architecture_names_the_supported_ones(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(TrimformerError, match=r"'gpt2' is not supported; supported are .*bert, .*roberta"):
        load(folder)


def test_a_newer_format_asks_for_an_upgrade(folder):
    config = json.loads((folder / "config.json").read_text()) | {"format_version": 99}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrimformerError, match="upgrade trimformer"):
        load(folder)


def test_broken_or_missing_config(folder, tmp_path):
    (folder / "config.json").write_text("{")
    with pytest.raises(TrimformerError, match=r"config\.json is not a readable JSON file"):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrimformerError, match=r"no config\.json"):
        load(tmp_path / "empty")
    with pytest.raises(TrimformerError, match="not a model folder"):
        load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no readable tokenizer"),
        ({"config.json": '{"model_type": "bert"}'}, r"no readable tokenizer in .*none of tokenizer\.json, vocab\.txt"),
        ({"config.json": '{"model_type": "bert"}', "tokenizer.json": "[1]"}, "no readable tokenizer"),
    ],
    ids=["no files", "stock configuration only", "broken"],
)
def test_a_tokenizer_that_cannot_be_read(folder, files, message):
    for name, content in files.items():
        (folder / name).write_text(content)
    with pytest.raises(TrimformerError, match=message):
        load_tokenizer(folder)


def test_a_tokenizer_that_needs_another_package(folder, monkeypatch):
    def japanese(*_, **__):
        raise ModuleNotFoundError("You need to install fugashi to use MecabTokenizer.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", japanese)
    with pytest.raises(TrimformerError, match="needs a package that is missing: You need to install fugashi"):
        load_tokenizer(folder)


def test_tokenizers_of_other_kinds(tmp_path):
    model = io.BytesIO()
    sentences = iter(["a good film", "a bad plot", "the film was very good", "the plot was dull"] * 9)
    SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    write_files(tmp_path / "pieces", model_type="xlm-roberta", files={"sentencepiece.bpe.model": model.getvalue()})
    write_files(tmp_path / "words", model_type="bert", files={"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nfilm"})
    slow = {"vocab.txt": b"a 5\nfilm 4\n", "bpe.codes": b"#version: 0.2\nf i 5\n"}
    write_files(tmp_path / "slow", model_type="roberta", files=slow, tokenizer_class="BertweetTokenizer")
    for name in ("pieces", "words", "slow"):
        tokenizer = load_tokenizer(tmp_path / name)
        assert tokenizer.is_fast == (name != "slow")
        ids = tokenizer("a film")["input_ids"]
        assert len(ids) > 3
        assert ids[1] != tokenizer.unk_token_id


def write_files(folder, files, **config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_shards_and_half_precision_are_read(folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in halves.items():
        save_file({key: weights[key].half() for key in keys}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model = load(folder)
    assert model.dtype == torch.float32
    torch.testing.assert_close(model.head.output.weight, weights["head.output.weight"], atol=1e-3, rtol=1e-2)
    (folder / "b.safetensors").unlink()
    with pytest.raises(TrimformerError, match=r"b\.safetensors named in .* is missing"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stock_shards_in_half_precision_are_read(tmp_path, dtype):
    reference = stock("distilbert", TrimformerForTokenClassification, id2label={0: "O", 1: "B-X", 2: "I-X"}).to(dtype)
    reference.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    model = load(tmp_path)
    assert isinstance(model, TrimformerForTokenClassification)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    batch = padded_batch(model)
    torch.testing.assert_close(answers(model, batch), answers(reference.float(), batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cls", [TrimformerForTokenClassification, TrimformerForQuestionAnswering])
def test_heads_for_tokens_and_spans_keep_their_labels_and_weights(tmp_path, cls):
    reference = stock("bert", cls, id2label={0: "O", 1: "B-PER"})
    reference.save_pretrained(tmp_path / "stock")
    trim(load(tmp_path / "stock"), attention={0: "mean"}).save_pretrained(tmp_path / "trimmed")
    head = reference.classifier if cls is TrimformerForTokenClassification else reference.qa_outputs
    for folder in ("stock", "trimmed"):
        model = load(tmp_path / folder)
        assert type(model) is cls
        assert model.config.label_names == ["O", "B-PER"]
        assert torch.equal(model.head.output.weight, head.weight)
    other = load(tmp_path / "stock", labels=["a", "b", "c"])
    assert other.config.label_names == ["a", "b", "c"]
    assert other.head.output.weight.shape == (3, 16)


def test_a_saved_body_loads_as_a_body(tmp_path):
    body = tiny().encoder
    body.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, TrimformerModel)
    for name, weight in body.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


def test_bare_shapes():
    model = load("shape:bert-tiny,attention=1=mean")
    assert [shape.attention for shape in model.config.shapes] == ["full", "mean"]
    with pytest.raises(TrimformerError, match="did you mean bert-tiny"):
        load("shape:bert-tny")
    with pytest.raises(TrimformerError, match="There is no layer 2"):
        load("shape:bert-tiny,attention=2=mean")
