"""Law: a run that was cut and resumed ends bit for bit as one that was not, for every method that learns."""

import functools

import pytest
import torch

from tests.learning import context, every_term, make_method
from trimformer.methods import METHODS
from trimformer.training.loop import train
from trimformer.training.terms.base import TERMS

slow = pytest.mark.slow
LEARNING = [name for name, method in METHODS.items() if method.trains]
KINDS = {"finetune": {0: "conv", 2: "none"}}  # plain fine-tuning is what repairs a trimmed model


class Cut(Exception):
    """Stands for a power cut: nothing after it runs."""


def finish(name, folder, stop_before=None, settings=None, **training):
    """Train to the end, or die before an optimiser step; the state is saved after every step."""
    dense = {"teacher": {}} if METHODS[name].needs_dense else {}
    stage = context(checkpoint_seconds=0, patience=99, attention=KINDS.get(name), folder=folder, **dense | training)
    method = make_method(name, stage, **METHODS[name].example | (settings or {}))
    update = method.update

    def cutting(step):
        if step == stop_before:
            raise Cut
        return update(step)

    method.update = cutting
    torch.manual_seed(7)
    folder.mkdir(exist_ok=True)  # what was cut is there
    train(method, method.context.rows, stage.training, stage.accelerator, folder, seed=0, title=name)
    return method, (repr(method.decide()), (folder / "metrics.jsonl").read_bytes(), method.history.state_dict())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a method ends with, by its name and way of training; done once for all the cuts."""

    @functools.cache
    def made(name, training):
        return finish(name, tmp_path_factory.mktemp("whole"), **dict(training))

    return lambda name, training: made(name, tuple(training.items()))


def check(name, folder, stop_before, expected, **training):
    """The law for one method, one cut and one way of training; what the resumed run ended with."""
    whole, results = expected
    with pytest.raises(Cut):
        finish(name, folder / "cut", stop_before, **training)
    again, results_again = finish(name, folder / "cut", **training)
    for network in whole.networks:
        weights, others = whole.networks[network].bare.state_dict(), again.networks[network].bare.state_dict()
        assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert results_again == results
    return again


# Every method is cut once in each way of training, in the first pass and in the last one; slow: elsewhere, too.
CUTS = [
    pytest.param(training, stop_before, marks=() if stop_before == quick else slow, id=f"{training}-{stop_before}")
    for training, quick in (({"epochs": 2}, 4), ({"epochs": 4, "accumulate": 2}, 11))
    for stop_before in (2, 4, 8, 11)
]


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize(("training", "stop_before"), CUTS)
def test_cut_and_resumed_equals_uninterrupted(tmp_path, uninterrupted, name, stop_before, training):
    check(name, tmp_path, stop_before, uninterrupted(name, training), **training)


@pytest.mark.parametrize("name", [name for name in LEARNING if not METHODS[name].rereads])
@pytest.mark.parametrize("cache", [pytest.param(False, marks=slow), True])
def test_with_a_wider_teacher_and_every_term_of_the_objective(tmp_path, name, cache):
    wanted = every_term(cache=cache)
    if name == "adabert":  # its student has no attention to compare
        wanted = {term: own for term, own in wanted.items() if term not in TERMS or not TERMS[term].reads_trace}
    training = {"epochs": 2, "objective": wanted, "teacher": {"hidden_size": 24}}
    again = check(name, tmp_path, 8, finish(name, tmp_path / "whole", **training), **training)
    assert any("projection.weight" in network.bare.state_dict() for network in again.networks.values())


@pytest.mark.parametrize("cache", [False, True])
def test_with_frozen_layers(tmp_path, cache):
    training = {"epochs": 2, "objective": {"hidden": 1.0, "cache": cache}, "settings": {"freeze_unchanged": True}}
    again = check("finetune", tmp_path, 8, finish("finetune", tmp_path / "whole", **training), **training)
    assert again.unchanged == 2


@pytest.mark.parametrize("name", ["movement", "block-movement"])
def test_with_soft_masks(tmp_path, name):
    training = {"epochs": 2, "settings": {"density": None, "penalty": 100.0}}
    again = check(name, tmp_path, 8, finish(name, tmp_path / "whole", **training), **training)
    assert again.density() < 1


def test_on_plain_text_that_is_masked_anew_in_each_pass(tmp_path):
    """General distillation of a smaller student: the masks after the cut are those that there would have been."""
    objective = {"task": 1.0, "hidden": 1.0, "logits": 1.0}
    results = [finish_on_plain_text(tmp_path / "whole", objective)]
    for stop_before in (3, 6):
        folder = tmp_path / f"cut{stop_before}"
        with pytest.raises(Cut):
            finish_on_plain_text(folder, objective, stop_before)
        results.append(finish_on_plain_text(folder, objective))
    for weights, metrics in results[1:]:
        assert metrics == results[0][1]
        assert all(torch.equal(weight, results[0][0][name]) for name, weight in weights.items())


def finish_on_plain_text(folder, objective, stop_before=None):
    """As `finish`; the weights and what was logged."""
    stage = context(checkpoint_seconds=0, kind="masked-lm", objective=objective, teacher={"hidden_size": 24}, epochs=2)
    method = make_method("finetune", stage)
    update = method.update

    def cutting(step):
        if step == stop_before:
            raise Cut
        return update(step)

    method.update = cutting
    torch.manual_seed(7)
    folder.mkdir(exist_ok=True)
    train(method, stage.train, stage.training, stage.accelerator, folder, seed=0, title="plain text")
    return method.networks["model"].bare.state_dict(), (folder / "metrics.jsonl").read_bytes()
