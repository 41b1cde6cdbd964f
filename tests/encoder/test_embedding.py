"""An embedding model gives the vectors that sentence-transformers gives, before and after it was saved."""

import json

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from tests.encoder.test_sentence import move_encoder
from tests.tinymodel import texts, write_stock_bert
from trimformer import Gates, TrimformerError, TrimformerForEmbedding, load, trim
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head, read_kind
from trimformer.encoder.model.heads.embedding import couple_loss, vector_loss
from trimformer.encoder.shape.embedding import POOLINGS, EmbeddingShape

SENTENCES = [text for text, _ in texts(6)]


def write_sentence_encoder(folder, *modules):
    write_stock_bert(folder / "body")
    torch.manual_seed(3)
    all_modules = [Transformer(str(folder / "body"), max_seq_length=30), *modules]
    SentenceTransformer(modules=all_modules, prompts={"query": "good "}, device="cpu").save(str(folder / "sentence"))
    return folder / "sentence"


def vectors_of(folder, sentences=SENTENCES):
    model, tokenizer = load_with_head(folder), load_tokenizer(folder)
    with torch.no_grad():
        return model(**tokenizer(sentences, padding=True, return_tensors="pt")).logits


def stock_vectors(folder, sentences=SENTENCES):
    return torch.from_numpy(SentenceTransformer(str(folder), device="cpu").encode(sentences))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_gives_the_vectors_of_sentence_transformers(tmp_path, pooling):
    source = write_sentence_encoder(tmp_path, Pooling(16, pooling_mode=pooling))
    torch.testing.assert_close(vectors_of(source), stock_vectors(source), atol=1e-6, rtol=0)


@pytest.mark.parametrize("old", [False, True])
def test_dense_layers_and_normalisation_are_read_trimmed_and_saved(tmp_path, old):
    dense = [Dense(16, 12), Dense(12, 7, bias=False, activation_function=torch.nn.Identity())]
    source = write_sentence_encoder(tmp_path, Pooling(16), *dense, Normalize())
    if old:
        move_encoder(source)
        modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
        (source / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    assert read_kind(source) == "embedding"
    torch.testing.assert_close(vectors_of(source), stock_vectors(source), atol=1e-6, rtol=0)
    hidden = torch.ones(16)
    hidden[3:6] = 0
    smaller = trim(load_with_head(source), Gates(hidden=hidden))
    smaller.save_pretrained(tmp_path / "saved")
    load_tokenizer(source).save_pretrained(tmp_path / "saved")
    ours, stock = vectors_of(tmp_path / "saved"), stock_vectors(tmp_path / "saved")
    torch.testing.assert_close(ours, stock, atol=1e-6, rtol=0)
    assert ours.shape == (6, 7)
    encoder = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert encoder.max_seq_length == 30
    assert encoder.prompts["query"] == "good "


def test_a_sentence_transformers_folder_is_loaded_as_a_body_unless_the_kind_is_named(tmp_path):
    source = write_sentence_encoder(tmp_path, Pooling(16), Normalize())
    assert not isinstance(load(source), TrimformerForEmbedding)
    assert isinstance(load(source, kind="embedding"), TrimformerForEmbedding)
    assert load(source, labels=["a", "b"]).config.embedding is None


def test_texts_are_read_in_lower_case_where_the_folder_says_so(tmp_path):
    source = write_sentence_encoder(tmp_path, Pooling(16))
    wanted = vectors_of(source, ["good film"])
    assert (vectors_of(source, ["Good FILM"]) - wanted).abs().max() > 1e-3
    file = next(source.glob("sentence_*_config.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_lower_case": True}))
    torch.testing.assert_close(vectors_of(source, ["Good FILM"]), wanted)
    load_tokenizer(source).save_pretrained(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").tokenize("FILM") == ["film"]


def test_an_encoder_without_pooling_gives_the_mean(tmp_path):
    write_stock_bert(tmp_path)
    model, tokenizer = load(tmp_path, kind="embedding"), load_tokenizer(tmp_path)
    batch = tokenizer(SENTENCES[:1], return_tensors="pt")
    with torch.no_grad():
        state = load(tmp_path)(**batch).last_hidden_state
        torch.testing.assert_close(model(**batch).logits, state.mean(1))


def pooled_by(folder, values):
    source = write_sentence_encoder(folder, Pooling(16))
    (source / "1_Pooling" / "config.json").write_text(json.dumps(values))
    return source


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling_mode": "attention"}, "must be one of cls, .*names attention"),
        ({"pooling_mode_own_tokens": True}, "names pooling_mode_own_tokens"),
        ({"pooling_mode": ["cls", "mean"]}, "names cls, mean"),
        ({"embedding_dimension": 16}, "names none"),
        ({"pooling_mode": "mean", "word_embedding_dimension": 99}, "99 dimensions, and those of the encoder have 16"),
        ({"pooling_mode": "mean", "include_prompt": False}, "leaves the tokens of a prompt out"),
    ],
)
def test_a_pooling_that_is_not_known_is_refused_and_the_body_still_loads(tmp_path, values, message):
    source = pooled_by(tmp_path, values)
    with pytest.raises(TrimformerError, match=message):
        load(source, kind="embedding")
    load(source)


def test_missing_and_unknown_modules_are_named(tmp_path):
    source = write_sentence_encoder(tmp_path, Pooling(16), Normalize())
    (source / "1_Pooling" / "config.json").unlink()
    with pytest.raises(TrimformerError, match=r"There is no .*1_Pooling/config\.json"):
        load(source, kind="embedding")
    modules = json.loads((source / "modules.json").read_text())
    for kept, message in [
        ([0], "names no pooling .*only the encoder"),
        ([0, 2], "after the encoder comes Normalize"),
    ]:
        (source / "modules.json").write_text(json.dumps([modules[index] for index in kept]))
        with pytest.raises(TrimformerError, match=message):
            load(source, kind="embedding")
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    modules[2]["type"] = "elsewhere.LSTM"
    (source / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(TrimformerError, match="names the module LSTM, which is not known here"):
        load(source, kind="embedding")


def test_an_unknown_shape_in_a_configuration_is_refused():
    for values in ({"pooling": "own"}, {"dense": [{"size": 0}]}, {"dense": [{"size": 2, "activation": "Own"}]}):
        with pytest.raises(TrimformerError, match="embedding"):
            EmbeddingShape.read(values)
    with pytest.raises(TrimformerError, match="not readable"):
        EmbeddingShape.read({"depth": 3})


def test_the_loss_of_vectors_is_zero_for_equal_ones_and_knows_no_unit():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 8), torch.randn(5, 8)
    assert vector_loss(teacher, teacher).abs() < 1e-6
    torch.testing.assert_close(vector_loss(7 * student, 7 * teacher), vector_loss(student, teacher))
    unit = [torch.nn.functional.normalize(x, dim=-1) for x in (student, teacher)]
    distance = 1 - (unit[0] * unit[1]).sum(-1).mean()
    torch.testing.assert_close(vector_loss(*unit), 3 * distance)


def test_the_loss_of_couples_counts_the_order_alone():
    vectors = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])  # cosines 1 and 0
    right, wrong = couple_loss(vectors, torch.tensor([5.0, 1])), couple_loss(vectors, torch.tensor([1.0, 5]))
    torch.testing.assert_close(right, torch.tensor(1 + torch.e**-20).log())
    torch.testing.assert_close(wrong, torch.tensor(1 + torch.e**20).log())
    assert couple_loss(vectors, torch.tensor([2.0, 2])) == 0
