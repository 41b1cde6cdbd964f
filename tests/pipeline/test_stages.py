"""Stages of a run: what one hands on to the next."""

from tests.tinymodel import write_csv, write_stock_bert
from trimformer.pipeline import stages as module
from trimformer.pipeline.accelerator import prepared
from trimformer.pipeline.dense import make_dense
from trimformer.pipeline.inputs import load_inputs
from trimformer.pipeline.stages import StageResult, Stages
from trimformer.recipe.settings import Recipe


def test_a_stage_goes_on_in_the_data_where_the_one_before_it_stopped(tmp_path, monkeypatch):
    write_stock_bert(tmp_path / "bert", layers=1)
    write_csv(tmp_path / "data.csv", rows=80)
    half = {"epochs": 0.5, "batch_size": 4}
    plain = {"method": {"name": "finetune"}, "training": half}
    recipe, accelerator = prepared(
        Recipe.model_validate(
            {
                "model": str(tmp_path / "bert"),
                "task": {"data": str(tmp_path / "data.csv"), "text": "review", "label": "stars"},
                "out": "o",
                "dense": half,
                "stages": [
                    plain | {"name": "one"},
                    {"name": "none", "method": {"name": "last-k", "keep_layers": 0}},
                    plain | {"name": "two"},
                ],
            }
        )
    )
    begun = []
    train = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: begun.append(k["begin"]) or train(*a, **k))
    stages = Stages(load_inputs(recipe, accelerator), accelerator, 0, tmp_path)
    results = [make_dense(recipe, stages, tmp_path / "dense")]
    for number, stage in enumerate(recipe.stages):
        results.append(stages.run(stage, number, tmp_path / stage.name, results))
    shares = [result.info["passes"] for result in results]
    assert begun == [0.0, shares[0], shares[2]]
    assert shares[1] == 2 * shares[0]
    assert shares[2] == shares[1]  # nothing was trained
    assert shares[3] == 3 * shares[0]
    assert StageResult.read("two", tmp_path / "two").info == results[-1].info | {"history": {}}
    assert StageResult.read("bert", tmp_path / "bert").info == {}


def test_a_model_holds_smaller_ones_until_another_stage_changes_it(tmp_path):
    write_stock_bert(tmp_path / "bert")
    write_csv(tmp_path / "data.csv", rows=80)
    quick = {"epochs": 0.5, "batch_size": 8}
    nest = {"name": "dynabert", "widths": [1.0, 0.5], "depths": [1.0, 0.5], "rows": 8}
    recipe, accelerator = prepared(
        Recipe.model_validate(
            {
                "model": str(tmp_path / "bert"),
                "task": {"data": str(tmp_path / "data.csv"), "text": "review", "label": "stars"},
                "out": "o",
                "dense": quick,
                "stages": [
                    {"name": "nest", "method": nest, "training": quick, "objective": {"task": 0.0, "logits": 1.0}},
                    {"name": "words", "method": {"name": "vocabulary"}},
                    {"name": "repair", "method": {"name": "finetune"}, "training": quick},
                ],
            }
        )
    )
    stages = Stages(load_inputs(recipe, accelerator), accelerator, 0, tmp_path)
    results = [make_dense(recipe, stages, tmp_path / "dense")]
    for number, stage in enumerate(recipe.stages):
        results.append(stages.run(stage, number, tmp_path / stage.name, results))
    nested = {"widths": [1.0, 0.5], "depths": [1.0, 0.5]}
    assert [result.origin.config.nested for result in results] == [None, nested, nested, None]
    again = stages.run(recipe.stages[0], 0, tmp_path / "nest", results[:1])  # as a resumed run reads it
    assert again.info["subnetworks"] == results[1].info["subnetworks"]
    assert [(one.width, one.depth) for one in again.info["subnetworks"]] == [(1, 1), (0.5, 1), (1, 0.5), (0.5, 0.5)]
