"""A trimmed sentence encoder stays one that sentence-transformers loads."""

import json

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch.nn import functional as F

from tests.command import trimformer
from tests.tinymodel import texts, write_stock_bert
from trimformer import TrimformerError, load
from trimformer.encoder.checkpoints.load import load_tokenizer
from trimformer.encoder.checkpoints.sentence import copy_modules


def write_sentence_encoder(folder, pooling):
    write_stock_bert(folder / "body")
    modules = [Transformer(str(folder / "body"), max_seq_length=30), Pooling(16, pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules, prompts={"query": "good "}, device="cpu").save(str(folder / "sentence"))
    return folder / "sentence"


def move_encoder(folder):
    """As sentence-transformers wrote it before version 3."""
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "0_Transformer").mkdir()
    for file in [path for path in folder.iterdir() if path.is_file()]:
        if file.name not in ("modules.json", "config_sentence_transformers.json"):
            file.rename(folder / "0_Transformer" / file.name)


@pytest.mark.parametrize(("pooling", "old"), [("mean", False), ("cls", True)])
def test_embeddings_of_a_trimmed_folder_are_those_of_the_trimmed_body(tmp_path, pooling, old):
    source = write_sentence_encoder(tmp_path, pooling)
    if old:
        move_encoder(source)
    assert trimformer("trim", source, "--attention", "1=mean", "--out", tmp_path / "trimmed").code == 0
    sentences = [text for text, _ in texts(6)]
    encoder = SentenceTransformer(str(tmp_path / "trimmed"), device="cpu")
    assert encoder.max_seq_length == 30
    assert encoder.prompts["query"] == "good "
    found = torch.from_numpy(encoder.encode(sentences))
    body = load(tmp_path / "trimmed")
    batch = load_tokenizer(tmp_path / "trimmed")(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = body(**batch).last_hidden_state
    real = batch["attention_mask"][..., None]
    pooled = (hidden * real).sum(1) / real.sum(1) if pooling == "mean" else hidden[:, 0]
    torch.testing.assert_close(found, F.normalize(pooled, dim=-1), atol=1e-6, rtol=0)
    dense = torch.from_numpy(SentenceTransformer(str(source), device="cpu").encode(sentences))
    assert (found - dense).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [("[", "not a readable JSON file"), ("{}", "list of modules"), ('[{"path": "../other"}]', "outside its folder")],
)
def test_a_broken_list_of_modules_is_named(tmp_path, content, message):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(TrimformerError, match=rf"modules\.json.*{message}"):
        load(tmp_path)


def test_a_module_outside_the_folder_is_not_copied(tmp_path):
    (tmp_path / "modules.json").write_text('[{"path": ""}, {"path": "../other"}]')
    (tmp_path / "target").mkdir()
    with pytest.raises(TrimformerError, match="outside its folder"):
        copy_modules(tmp_path, tmp_path / "target")
