"""Early exits in the encoder: the rule, the batch that shrinks, and what trimming and saving make of them."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.models import (
    DISTINCT_FAMILIES,
    WITHOUT_FAMILY,
    padded_batch,
    points_of,
    random_gates,
    tiny,
    with_layers,
)
from trimformer import Gates, TrimformerConfig, TrimformerError, TrimformerModel, cost, load, trim
from trimformer.encoder.model.exits import without_exits
from trimformer.encoder.model.heads import (
    HEADS,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from trimformer.encoder.shape.kinds import LAYERS
from trimformer.saved.exits import ANSWERS, RULES, WITHOUT, ExitShape, Leaving, exits_of

NUMBER = {"problem_type": "regression", "labels": 1}
KINDS = {
    "classification": (TrimformerForSequenceClassification, {}),
    "multilabel": (TrimformerForSequenceClassification, {"problem_type": "multi_label_classification"}),
    "regression": (TrimformerForSequenceClassification, NUMBER),
    "tokens": (TrimformerForTokenClassification, {}),
}


def exits(rule="entropy", threshold=0.5, after=(0, 1, 2), reads="mean", **others):
    return {"after": list(after), "rule": rule, "threshold": threshold, "reads": reads, **others}


def with_exits(kind="classification", given=None, family="bert", layers=4):
    cls, fields = KINDS[kind]
    if given is None:
        given = exits("patience", 1, tolerance=0.5) if kind == "regression" else exits()
    torch.manual_seed(3)
    model = cls(tiny(layers, family=family, **fields, exits=given).config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def rows_of(model, batch, output):
    """The real logits of each row."""
    for row, length in zip(output, batch["attention_mask"].sum(1), strict=True):
        yield row[:length] if output.ndim == 3 else row


def changed(model, **fields):
    """The same weights under other settings of the exits."""
    model.config.exits = model.config.exits | fields
    return model


def midst(model, batch):
    """A threshold below which about half of the rows are at the first exit."""
    with torch.no_grad():
        logits = model(**batch, output_exits=True).exit_logits[0]
    entropy = ANSWERS[model.kind].entropy
    rows = rows_of(model, batch, logits)
    return float(np.median([entropy(own.numpy()).max() for own in rows]))


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_a_padded_batch_equals_its_texts_one_by_one(family, kind, rule):
    if (kind, rule) == ("regression", "entropy"):
        pytest.skip("a number has no entropy")
    more = {"tolerance": 0.5} if kind == "regression" else {}
    check_batch(with_exits(kind, exits(rule, 0.8 if rule == "entropy" else 1, **more), family).double(), rule)


@pytest.mark.parametrize("kind", WITHOUT_FAMILY)
def test_layers_of_every_kind_let_texts_leave(kind):
    layers = [shape.to_dict() for shape in 2 * LAYERS[kind].examples]
    model = with_layers(kind, layers=layers, exits=exits(after=range(len(layers) - 1)))
    check_batch(model.double(), "entropy")


def check_batch(model, rule):
    batch = padded_batch(model, 12, 14)
    if rule == "entropy":
        changed(model, threshold=midst(model, batch))
    with torch.no_grad():
        out = model(**batch)
        every = model(**batch, output_exits=True)
        for index, own in enumerate(rows_of(model, batch, out.logits)):
            length = int(batch["attention_mask"][index].sum())
            alone = model(**{name: value[index : index + 1, :length] for name, value in batch.items()})
            assert alone.executed.item() == out.executed[index].item()
            torch.testing.assert_close(alone.logits[0], own, atol=1e-10, rtol=0)
            stack = [*every.exit_logits, every.logits]
            expected = stack[out.executed[index].item() - 1][index]
            torch.testing.assert_close(own, expected[: len(own)] if own.ndim == 2 else expected, atol=1e-10, rtol=0)
    assert rule == "patience" or len(set(out.executed.tolist())) > 1


@pytest.mark.parametrize("kind", ["classification", "multilabel", "tokens"])
def test_a_threshold_of_0_gives_the_full_model_and_one_above_1_the_first_exit(kind):
    model = with_exits(kind)
    batch = padded_batch(model)
    real = batch["attention_mask"].bool() if kind == "tokens" else slice(None)
    with torch.no_grad():
        exit_logits = model(**batch, output_exits=True).exit_logits
        full = changed(model, threshold=0)(**batch)
        first = changed(model, threshold=2)(**batch)
        dense = without_exits(model)(**batch)
    assert full.executed.tolist() == [4] * 4
    assert torch.equal(full.logits[real], dense.logits[real])
    assert first.executed.tolist() == [1] * 4
    assert torch.equal(first.logits[real], exit_logits[0][real])


@pytest.mark.parametrize("kind", KINDS)
def test_a_patience_of_as_many_exits_gives_the_full_model(kind):
    more = {"tolerance": 1e9} if kind == "regression" else {}
    model = with_exits(kind, exits("patience", 3, **more))
    with torch.no_grad():
        assert model(**padded_batch(model)).executed.tolist() == [4] * 4
        if kind == "regression":  # all exits agree: after two agreements everybody leaves, at the third exit
            assert changed(model, threshold=2)(**padded_batch(model)).executed.tolist() == [3] * 4


def test_entropy_is_normalised():
    def left(probabilities, threshold, kind="classification"):
        given = np.log(np.asarray([probabilities]))
        return Leaving(ExitShape((0,), "entropy", threshold), kind)(given).tolist()

    of_two = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2)
    assert left([0.9, 0.1], of_two + 1e-9) == [True]
    assert left([0.9, 0.1], of_two - 1e-9) == [False]
    assert left([0.25] * 4, 1 - 1e-9) == [False]
    assert left([0.25] * 4, 1 + 1e-9) == [True]
    unsure = np.asarray([[9.0, -9.0, 0.1]])  # the third label may be there or not
    assert Leaving(ExitShape((0,), "entropy", 0.5), "multilabel")(unsure).tolist() == [False]
    assert Leaving(ExitShape((0,), "entropy", 0.5), "multilabel")(unsure[:, :2]).tolist() == [True]


def test_patience_counts_agreements_in_a_row_and_starts_again():
    said = [[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1]]
    logits = [np.eye(2)[own] for own in said]
    assert exits_of(ExitShape((0, 1, 2, 3), "patience", 1), "classification", logits).tolist() == [1, 2, 1]
    assert exits_of(ExitShape((0, 1, 2, 3), "patience", 2), "classification", logits).tolist() == [4, 3, 2]


def test_a_number_agrees_up_to_the_tolerance():
    logits = [np.asarray([[0.0], [0.0]]), np.asarray([[0.4], [0.6]]), np.asarray([[9.0], [0.6]])]
    shape = ExitShape((0, 1), "patience", 1, tolerance=0.5)
    assert exits_of(shape, "regression", logits).tolist() == [1, 2]


def test_a_text_with_tags_leaves_only_where_all_of_its_tokens_agree():
    agree, differ = np.eye(2)[[[0, 1, 0]]], np.eye(2)[[[0, 1, 1]]]
    shape = ExitShape((0, 1), "patience", 1)
    assert exits_of(shape, "tokens", [agree, differ, agree]).tolist() == [2]
    assert exits_of(shape, "tokens", [agree, differ, agree], np.asarray([[1, 1, 0]])).tolist() == [1]


def test_rows_that_are_not_numbers_never_leave():
    shape = ExitShape((0, 1), "entropy", 2)
    logits = np.asarray([[np.nan, 1.0], [0.0, 1.0]])
    assert exits_of(shape, "classification", [logits] * 3).tolist() == [2, 0]


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_trimmed_equals_gated(family, kind):
    model = with_exits(kind, family=family).double()
    batch = padded_batch(model, 8, 9)
    real = batch["attention_mask"].bool() if kind == "tokens" else slice(None)
    for seed in range(3):
        gates = random_gates(model, points_of(model), seed)
        trimmed = trim(model, gates)
        with torch.no_grad():
            ours, gated = trimmed(**batch), model(**batch, gates=gates)
        torch.testing.assert_close(ours.logits[real], gated.logits[real], atol=1e-10, rtol=0)


def test_exits_go_with_their_layers_and_are_renumbered():
    model = with_exits()
    model.config.exits["thresholds"] = {"onnx-int8": 1}
    trimmed = trim(model, Gates(layers=torch.tensor([1.0, 0.0, 1.0, 1.0])))
    assert trimmed.config.exits["after"] == [0, 1]
    assert "thresholds" not in trimmed.config.exits  # they are of files
    assert torch.equal(trimmed.exits["1"].output.weight, model.exits["2"].output.weight)
    assert trim(model, Gates(layers=torch.tensor([1.0, 1.0, 0.0, 0.0]))).config.exits["after"] == [0]
    alone = trim(model, Gates(layers=torch.tensor([1.0, 0.0, 0.0, 0.0])))
    assert alone.config.exits is None
    assert not alone.exits


@pytest.mark.parametrize("kind", KINDS)
def test_states_can_be_looked_at_and_the_answers_stay(kind):
    model = with_exits(kind)
    batch = padded_batch(model)
    real = batch["attention_mask"].bool() if kind == "tokens" else slice(None)
    with torch.no_grad():
        plain, looked = model(**batch), model(**batch, output_hidden_states=True, output_trace=True)
    assert torch.equal(plain.executed, looked.executed)
    torch.testing.assert_close(plain.logits[real], looked.logits[real], atol=1e-5, rtol=0)
    assert len(looked.hidden_states) == 5


def test_in_training_no_row_leaves_and_all_exits_answer():
    model = changed(with_exits(), threshold=2).train()
    out = model(**padded_batch(model))
    assert out.executed is None
    assert [tuple(logits.shape) for logits in out.exit_logits] == [(4, 3)] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_saved_equals_loaded(kind, tmp_path):
    model = with_exits(kind)
    model.save_pretrained(tmp_path)
    batch = padded_batch(model)
    loaded = type(model).from_pretrained(tmp_path).eval()
    own = load(tmp_path)
    with torch.no_grad():
        expected = model(**batch)
        for found in (loaded(**batch), own(**batch)):
            # Weights that lie elsewhere in memory may be added up in another order.
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-6, rtol=0)
            assert torch.equal(found.executed, expected.executed)
    for other in (loaded, own):
        assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in model.state_dict().items())
    assert TrimformerModel.from_pretrained(tmp_path).config.exits == model.config.exits
    assert load(tmp_path, labels=["yes", "no"]).config.exits is None


def test_an_exit_without_weights_is_refused(tmp_path):
    model = with_exits(given=exits(after=[1]))
    model.config.exits = exits()
    model.save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match=r"exits\.0\.output\.bias is missing"):
        TrimformerForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match=r"exits\.0\.\S+ is missing"):
        load(tmp_path)


def first_layer_attends():
    """Exits above the last layer that mixes the tokens read all of them; behind the last exit one is computed."""
    gates = Gates(attention=torch.tensor([1.0, 0.0, 0.0, 0.0]), removed="none")
    return trim(with_exits(), gates)


def test_exits_above_the_last_layer_that_mixes_tokens():
    model = first_layer_attends().double()
    assert (model.config.last_mixing, model.config.first_alone) == (0, 3)
    check_batch(model, "entropy")


@pytest.mark.parametrize("kind", [*KINDS, "above the last that mixes"])
def test_counted_equals_computed(kind):
    model = with_exits(kind) if kind in KINDS else first_layer_attends()
    model = changed(model, threshold=3 if kind == "regression" else 0)
    computed = cost(model, 12)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randint(4, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long))
    assert counter.get_total_flops() == computed.flops
    assert computed.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (exits(after=[]), "name at least one layer"),
        (exits(after=[1, 1]), "each once"),
        (exits(after=[3]), "exits stand after the layers 0 to 2"),
        (exits("luck"), "use one of entropy, patience"),
        (exits(threshold=-1), "numbers of at least 0"),
        (exits(threshold=float("nan")), "numbers of at least 0"),
        (exits(threshold=None), "numbers of at least 0"),
        (exits("patience", 0.5), "a whole number of at least 1"),
        (exits(tolerance=0.1), "leave tolerance out"),
        (exits(reads="tea leaves"), "use one of head, mean"),
        (exits(max_drop=-1), "numbers of at least 0"),
        (exits(thresholds={"onnx-int8": -1}), "numbers of at least 0"),
        (exits("patience", 1, thresholds={"onnx-int8": 0.5}), "a whole number of at least 1"),
        (exits(thresholds=[0.5]), "exits in config.json is not readable"),
        (exits(mood=1), "unexpected keyword argument 'mood'"),
        ({"rule": "entropy", "threshold": 0.5}, "give after, rule and threshold"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, said):
    with pytest.raises(TrimformerError, match=said):
        tiny(4, exits=given)


def test_kinds_that_cannot_have_exits_are_refused_with_the_reason():
    config = tiny(4, exits=exits()).config
    for head in HEADS:
        if not set(head.kinds) & set(WITHOUT):
            continue
        if head is TrimformerForSequenceClassification:
            fields = {"problem_type": "multi_label_classification", "id2label": {0: "relevance"}, "label2id": None}
            config = TrimformerConfig.from_dict(config.to_dict() | fields)
        with pytest.raises(TrimformerError, match="cannot have exits, because"):
            head(config)
    assert set(WITHOUT) | set(ANSWERS) == {kind for head in HEADS for kind in head.kinds}
    one = TrimformerConfig.from_dict(tiny(4, labels=1).config.to_dict() | {"exits": exits()})
    with pytest.raises(TrimformerError, match="needs 2 labels to be sure of one, and the model has 1"):
        TrimformerForTokenClassification(one)
    with pytest.raises(TrimformerError, match="use the rule patience"):
        tiny(4, **NUMBER, exits=exits())
    with pytest.raises(TrimformerError, match="give exits a tolerance"):
        tiny(4, **NUMBER, exits=exits("patience", 1))
    with pytest.raises(TrimformerError, match="leave tolerance out"):
        tiny(4, exits=exits("patience", 1, tolerance=0.1))
