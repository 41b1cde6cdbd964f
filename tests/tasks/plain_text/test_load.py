"""A masked-LM task: rows in three parts, masks that follow from seed, pass and row."""

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.tasks.plain_text.plain import masking_tokenizer, write_text
from trimformer import TrimformerError
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.outcome import outcome
from trimformer.tasks.plain_text.load import load_plain_text
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.training.evaluate import predict_logits


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))


def load(folder, lines=80, seed=0, **settings):
    path = write_text(folder / "texts.txt", lines)
    task = TaskSettings(name="text", texts=[str(path)], **settings)
    return load_plain_text(task, masking_tokenizer(), tiny().config, 16, seed)


def rows_of(data):
    return [tuple(data.ids[a : a + n].tolist()) for a, n in zip(data.begins[:, 0], data.lengths, strict=True)]


def test_no_row_is_in_two_parts(tmp_path):
    (tmp_path / "more").mkdir()
    path = write_text(tmp_path / "more" / "a.txt", 80)
    path.write_text(path.read_text() * 3)  # every row three times
    task = TaskSettings(name="text", texts=[str(path)])
    data = load_plain_text(task, masking_tokenizer(), tiny().config, 16, 0)
    parts = [rows_of(part) for part in (data.train, data.selection, data.validation)]
    assert [len(part) for part in parts] == [168, 12, 12]
    assert not set(parts[0]) & set(parts[1]) | set(parts[0]) & set(parts[2]) | set(parts[1]) & set(parts[2])
    assert "240 texts" in data.task.source


def test_masks_follow_from_seed_pass_and_row(tmp_path):
    data = load(tmp_path)
    drawn = data.train.of_epoch(0, 3)
    one, other = drawn.batch([4, 9, 2]), drawn.batch([9])
    assert torch.equal(one["input_ids"][1, : other["input_ids"].shape[1]], other["input_ids"][0])
    assert torch.equal(one["labels"], data.train.of_epoch(0, 3).batch([4, 9, 2])["labels"])
    rows = range(len(data.train))
    passes = [data.train.of_epoch(seed, epoch).batch(rows)["asked"] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])
    assert data.selection.of_epoch(5, 5) is data.selection
    assert len(one["labels"]) == one["asked"].sum()


def test_score_is_that_of_the_masked_tokens(tmp_path):
    data = load(tmp_path).validation
    task = load(tmp_path).task
    logits = np.stack([np.full(len(data.labels), 0.5), data.labels], 1).astype(np.float32)
    logits[0, 1] += 1
    found = outcome(task, data, logits)
    assert found.scores == {"accuracy": pytest.approx(1 - 1 / len(data.labels)), "loss": pytest.approx(0.5)}
    assert len(found.answers) == len(data)
    assert found.answers.sum(0)[1] == len(data.labels) == data.places.sum()


def test_a_model_and_a_file_that_answers_everywhere_are_scored_alike(tmp_path):
    from trimformer import TrimformerForMaskedLM

    torch.manual_seed(0)
    model, data = TrimformerForMaskedLM(tiny().config).eval(), load(tmp_path).validation
    logits = predict_logits(model, data)
    other = predict_logits(lambda gates, **batch: model(**batch), data)
    np.testing.assert_allclose(other, logits, atol=1e-5)
    assert KINDS["masked-lm"].same(data, logits, other).all()
    batch = data.batch(range(len(data)))
    asked, labels = batch.pop("asked"), batch.pop("labels")
    loss = model(**batch, asked=asked, labels=labels).loss.item()
    assert outcome(load(tmp_path).task, data, logits).scores["loss"] == pytest.approx(loss, rel=1e-5)


def test_texts_in_another_language(tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("\n".join(f"der Film war {i} gut" for i in range(9)))
    task = TaskSettings(name="text", texts=[str(write_text(tmp_path / "a.txt")), str(path)])
    (note,) = load_plain_text(task, masking_tokenizer(), tiny().config, 16, 0).notes
    assert "% of the tokens" in note
    assert "another language" in note


def test_a_file_of_its_own_for_the_score_and_fewer_rows(tmp_path):
    own = write_text(tmp_path / "own.txt", 7)
    data = load(tmp_path, validation=str(own), train_limit=9, metric="loss")
    assert [len(part) for part in (data.train, data.selection, data.validation)] == [9, 12, 7]
    assert data.task.metrics == ("loss", "accuracy")
    assert data.task.metric.lower_is_better


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lines": 1}, "too few to hold some out"),
        ({"label": "stars"}, "task.label has no meaning for text"),
    ],
)
def test_what_cannot_be_read(tmp_path, settings, said):
    with pytest.raises(TrimformerError, match=said):
        load(tmp_path, **settings)


def test_settings_of_plain_text_mean_nothing_elsewhere():
    with pytest.raises(TrimformerError, match="only a recipe with stages learns from"):
        load_task(TaskSettings(name="text", texts=["a.txt"]))
    with pytest.raises(TrimformerError, match=r"task\.packed has no meaning for sst2"):
        load_task(TaskSettings(name="sst2", packed=True))
    with pytest.raises(TrimformerError, match=r"name them in task\.texts"):
        load_plain_text(TaskSettings(name="text"), masking_tokenizer(), tiny().config, 16, 0)
