"""Every command on the user's own files with a tiny encoder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.command import Result, sentence, trimformer
from tests.tinymodel import write_csv, write_scores, write_stock_bert
from trimformer import load
from trimformer.recipe.reading import load_recipe
from trimformer.recipe.settings import ExportSettings, MeasureSettings
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report
from trimformer.report.summary import headline, removal_words
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings
from trimformer_cli.jobs import show_report

COMMANDS = ["compress", "worker", "demo", "run", "evaluate", "study", "trim", "bench", "export", "predict", "inspect"]
COLUMNS = ["--text", "review", "--label", "stars"]
LAST_K = {"name": "last-k", "keep_layers": 1}
QUICK = ["--method", "last-k", "--keep-layers", 1, "--epochs", 1, "--learning-rate", 1e-3]


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Measure the peak in little time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimformer.measure.bench.peak.SIZES", ((64, 64, 64),))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder: a bare encoder and one with a head, reviews, and the run `out` on them."""
    home = tmp_path_factory.mktemp("home")
    write_stock_bert(home / "bare")
    write_stock_bert(home / "head", ["pos", "neg"])
    write_csv(home / "reviews.csv")
    write_scores(home / "scores.jsonl")
    return home


@pytest.fixture(scope="module")
def compressed(home: Path) -> Result:
    data = ["--data", home / "reviews.csv", *COLUMNS]
    return trimformer("compress", home / "bare", *data, *QUICK, "--out", home / "out", "--json")


@pytest.fixture(scope="module")
def out(home: Path, compressed: Result) -> Path:
    assert compressed.code == 0, compressed.err
    return home / "out"


def test_compress_prints_the_report_alone(out: Path, compressed: Result) -> None:
    printed = Report.model_validate_json(compressed.out)
    assert printed == Report.model_validate_json((out / "report.json").read_text())
    assert printed.removed_layers() == [1]
    assert printed.task.labels == ["neg", "pos"]
    assert [step.name for step in printed.steps] == ["load", "dense", "search", "repair", "export", "measure"]
    assert "dense: step" in printed.training_cost


def test_the_headline_is_of_a_file_that_is_there(out: Path) -> None:
    """With the file's own time and score; the files of the run are those that were timed."""
    report = Report.model_validate_json((out / "report.json").read_text())
    head, trimmed = report.headline, report.variant("trimmed")
    assert head is not None
    assert trimmed is not None
    assert head.start == "eager"
    assert head.file in {file.file for file in report.export}
    assert (out / head.file).is_file()
    (time,) = [
        one
        for one in trimmed.latency_ms
        if (one.backend, one.batch) == (head.backend, head.batch) and one.length == head.length
    ]
    assert (head.ms, head.score) == (time.median, time.score)
    scores = {file.file: file.score for file in report.export}
    assert head.score == scores[head.file]


def test_the_terminal_ends_with_the_headline(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report.model_validate_json((out / "report.json").read_text())
    show_report(report, out, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == headline(report)
    assert f"<h1>{headline(report)}</h1>" in (out / "report.html").read_text()


def test_compress_writes_everything(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    assert names == {"dense", "metrics.jsonl", "model", "onnx", "recipe.yaml", "report.html", "report.json"}
    assert not list(out.parent.glob("*out.partial*"))
    assert {file.name for file in (out / "onnx").glob("*.onnx")} == {"model.onnx", "model.int8.onnx"}
    assert "<html" in (out / "report.html").read_text()
    assert load_recipe(out / "recipe.yaml").stages[0].method.name == "last-k"
    stages = [json.loads(line)["stage"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["dense", "repair"]


def test_the_model_loads_elsewhere(out: Path) -> None:
    """A fresh process that only imports the package gives the same logits, under the user's label names."""
    code = (
        "import sys, torch, trimformer; from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "logits = model(**tokenizer('the film was good', return_tensors='pt')).logits\n"
        "print(model.config.id2label, [x.hex() for x in logits[0].tolist()])"
    )
    done = subprocess.run([sys.executable, "-c", code, out / "model"], capture_output=True, text=True, check=True)
    model = load(out / "model")
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(out / "model")("the film was good", return_tensors="pt")
        logits = model(**inputs).logits
    assert done.stdout.strip() == f"{ {0: 'neg', 1: 'pos'} } {[x.hex() for x in logits[0].tolist()]}"


def run_without_export(home: Path, model: str, name: str, method: dict[str, Any] = LAST_K, **task: str) -> Report:
    """A run by recipe, without what the run `out` has shown already."""
    recipe = standard_recipe(
        str(home / model), TaskSettings(**task), str(home / name),  # type: ignore[arg-type]
        method=method, training=TrainingSettings(epochs=1), fine_tune="never" if model == "head" else "auto",
    )  # fmt: skip
    quick = {"export": ExportSettings(onnx=False), "measure": MeasureSettings(backends=["torch"])}
    recipe.model_copy(update=quick).save(home / "recipe.yaml")
    result = trimformer("run", home / "recipe.yaml", "--json")
    assert result.code == 0, result.err
    return Report.model_validate_json(result.out)


def test_numbers_from_jsonl(home: Path) -> None:
    write_scores(home / "scores.jsonl")
    report = run_without_export(home, "bare", "numbers", data=str(home / "scores.jsonl"))
    assert (report.task.kind, report.task.metric) == ("regression", "pearson")
    assert load(home / "numbers/model").config.problem_type == "regression"
    float(trimformer("predict", home / "numbers/model", stdin="good\n").out)


def test_a_trained_head_is_the_baseline(home: Path) -> None:
    """It is not trained again, and its label order holds, whatever the alphabet says."""
    columns = {"text": "review", "label": "stars"}
    report = run_without_export(home, "head", "headed", data=str(home / "reviews.csv"), **columns)
    assert not any(part.startswith("dense") for part in report.training_cost)
    assert report.task.labels == ["pos", "neg"]
    assert load(home / "headed/model").config.label_names == ["pos", "neg"]
    stock = AutoModelForSequenceClassification.from_pretrained(home / "head")
    dense = load(home / "headed/dense/model")
    ids = torch.tensor([[2, 5, 9, 3]])
    torch.testing.assert_close(dense(input_ids=ids).logits, stock(input_ids=ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("method", "label", "words"),
    [
        ({"name": "depth", "keep": 1}, "depth, keep 1", "1 of 2 layers removed"),
        ({"name": "greedy", "keep_layers": 1}, "greedy, keep 1", "Attention removed from 1 of 2 layers"),
    ],
    ids=["depth", "greedy"],
)
def test_the_report_says_what_was_removed(home: Path, method: dict[str, Any], label: str, words: str) -> None:
    columns = {"text": "review", "label": "stars"}
    report = run_without_export(home, "head", method["name"], method, data=str(home / "reviews.csv"), **columns)
    dense, trimmed = report.variants
    assert trimmed.params < dense.params
    assert (report.method, removal_words(report)) == (label, words)
    drawn = [(curve.stage, curve.name) for curve in report.curves]
    assert drawn == ([("search", "keep_probability")] if method["name"] == "greedy" else [])
    assert load(home / method["name"] / "model").num_parameters() == trimmed.params


def test_evaluate(home: Path, out: Path) -> None:
    data = ["--data", home / "reviews.csv", *COLUMNS]
    alone = json.loads(trimformer("evaluate", out / "model", *data, "--json").out)
    report = Report.model_validate_json((out / "report.json").read_text())
    trimmed = report.variant("trimmed")
    assert trimmed is not None
    assert alone["scores"] == pytest.approx(trimmed.scores)
    assert (alone["n_examples"], alone["against"]) == (report.task.n_validation, None)
    paired = json.loads(trimformer("evaluate", out / "model", *data, "--against", out / "dense/model", "--json").out)
    assert paired["against"]["difference"] == pytest.approx(report.comparison.difference)
    shown = trimformer("evaluate", out / "model", *data, "--against", out / "dense/model")
    assert "accuracy" in shown.out
    assert "difference to" in shown.out


def test_inspect(out: Path) -> None:
    result = json.loads(trimformer("inspect", out / "model", "--json").out)
    assert [layer["attention"] for layer in result["layers"]] == ["full", "mean"]
    assert result["params"] == sum(p.numel() for p in load(out / "model").parameters())
    assert "embeddings" in trimformer("inspect", out / "model").out


def test_bench(home: Path, out: Path) -> None:
    sizes = ["--batch", 1, "--batch", 2, "--length", 8, "--threads", 1, "--backends", "eager,torch", "--no-fresh"]
    models = [out / "dense/model", out / "model"]
    result = trimformer("bench", *models, *sizes, "--thorough", "--json", home / "bench.json")
    assert result.code == 0, result.err
    written = json.loads((home / "bench.json").read_text())
    assert len(written["timings"]) == 8
    assert written["timings"][0]["speedup"] == 1
    assert written["timings"][0]["peak_share"] > 0
    assert "p95 ms" in result.out
    printed = trimformer("bench", *models, *sizes, "--json", "-")
    assert json.loads(printed.out)["hardware"] == written["hardware"]


def test_bench_replaces_files_only_by_force(home: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ["--batch", 1, "--length", 8, "--threads", 1, "--backends", "torch", "--no-fresh"]
    (home / "old.json").write_text("precious")
    (home / "old.html").write_text("precious")
    (home / "texts.csv").write_text("text\ngood film\n")
    os.mkfifo(home / "pipe")
    with monkeypatch.context() as patch:
        patch.setattr("trimformer.measure.bench.bench.bench", None)  # the refusal comes before any work
        for option, name in (("--json", "old.json"), ("--plot", "old.html")):
            refused = sentence(trimformer("bench", out / "model", *quick, option, home / name))
            assert refused == f"{home / name} exists: name another file, or replace it with --force."
        data = ["--data", home / "texts.csv", "--json", home / "texts.csv", "--force"]
        assert "is an input" in sentence(trimformer("bench", out / "model", *quick, *data))
    with monkeypatch.context() as patch:
        patch.setattr("trimformer.measure.device.pieces.measure", None)
        table = ["--table", home / "pipe"]
        assert "is not a regular file" in sentence(trimformer("bench", out / "model", *quick, *table))
        table = ["--table", home / "table.json", "--json", home / "old.json"]
        assert "exists" in sentence(trimformer("bench", out / "model", *quick, *table))
    assert ((home / "old.json").read_text(), (home / "old.html").read_text()) == ("precious", "precious")
    result = trimformer("bench", out / "model", *quick, "--json", home / "old.json", "--force")
    assert result.code == 0, result.err
    assert len(json.loads((home / "old.json").read_text())["timings"]) == 1


def test_bench_with_scores_and_picture(home: Path, out: Path) -> None:
    data = ["--task", "custom", "--data", home / "reviews.csv", *COLUMNS]
    quick = ["--batch", 2, "--length", 8, "--threads", 1, "--backends", "torch,onnx", "--no-fresh"]
    models = [f"dense={out / 'dense/model'}", f"new={out / 'model'}"]
    files = ["--json", home / "scores.json", "--plot", home / "bench.html"]
    result = trimformer("bench", *models, *data, *quick, *files)
    assert result.code == 0, result.err
    written = json.loads((home / "scores.json").read_text())
    alone = json.loads(trimformer("evaluate", out / "model", *data[2:], "--json").out)
    scores = {(s["name"], s["backend"]): s["score"] for s in written["scores"]}
    assert scores["new", "torch"] == scores["new", "onnx"] == pytest.approx(alone["scores"]["accuracy"])
    assert [t["lengths"] for t in written["timings"][::4]] == ["fixed", "padded", "bucketed"]
    assert "accuracy" in result.out
    assert "Speed against accuracy" in (home / "bench.html").read_text()


def test_bench_on_texts(home: Path, out: Path) -> None:
    texts = home / "texts.txt"
    texts.write_text("good film\nthe music was dull\n")
    quick = ["--batch", 1, "--length", 8, "--threads", 1, "--backends", "torch", "--no-fresh", "--json", "-"]
    timings = json.loads(trimformer("bench", out / "model", "--data", texts, *quick).out)["timings"]
    assert [(t["lengths"], t["length"]) for t in timings] == [("fixed", 8), ("padded", 5)]


def test_export_to_onnx(home: Path, out: Path) -> None:
    result = trimformer("export", out / "model", "--out", home / "onnx", "--json")
    assert result.code == 0, result.err
    fp32, int8 = json.loads(result.out)
    assert fp32["path"] == str(home / "onnx/model.onnx")
    assert fp32["max_abs_error"] < 1e-4
    assert int8["bytes"] == (home / "onnx/model.int8.onnx").stat().st_size


def test_export_scored_on_data(home: Path, out: Path) -> None:
    data = ["--validation", home / "reviews.csv", "--text", "review", "--label", "stars"]
    result = trimformer("export", out / "model", "--precision", "fp32", *data, "--out", home / "scored")
    assert result.code == 0, result.err
    assert "drop in points" in result.out
    assert "+0.00" in result.out


@pytest.mark.slow
@pytest.mark.usefixtures("users_exporter")
def test_export_for_a_target(home: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A model that saw 60 rows may answer random inputs otherwise in int8, which is not what is tested here.
    monkeypatch.setattr("trimformer.measure.bench.target.agrees", lambda share: True)
    exact = trimformer("export", out / "model", "--precision", "fp32", "--out", home / "exact")
    assert exact.code == 0, exact.err
    result = trimformer("export", out / "model", "--target", "size", "--out", home / "small")
    assert result.code == 0, result.err
    assert "the smallest here" in result.out
    (weights,) = home.glob("small/model*.[bo]*n*")
    assert weights.stat().st_size < (home / "exact/model.onnx").stat().st_size
    refused = trimformer("export", out / "model", "--target", "size", "--to", "onnx", "--out", home / "other")
    assert refused.code == 2
    assert "leave --to and --precision out" in refused.err


def test_export_back_to_huggingface(home: Path, out: Path) -> None:
    result = trimformer("export", out / "dense/model", "--to", "huggingface", "--out", home / "stock")
    assert result.code == 0, result.err
    stock = AutoModelForSequenceClassification.from_pretrained(home / "stock")
    assert stock.config.model_type == "bert"
    ids = torch.tensor([[2, 5, 9, 3]])
    expected = load(out / "dense/model")(input_ids=ids).logits
    torch.testing.assert_close(stock(input_ids=ids).logits, expected, atol=1e-5, rtol=0)
    assert trimformer("predict", home / "stock", stdin="good\n").out in ("pos\n", "neg\n")


def test_trim(home: Path) -> None:
    result = trimformer("trim", home / "head", "--attention", "0=mean", "--out", home / "trimmed", "--json")
    assert result.code == 0, result.err
    before, after = json.loads(result.out)["params"]
    assert before - after == 2 * (16 * 16 + 16)
    assert [shape.attention for shape in load(home / "trimmed").config.shapes] == ["mean", "full"]
    assert trimformer("predict", home / "trimmed", stdin="good\n").code == 0


@pytest.mark.parametrize("command", [["export"], ["trim", "--attention", "0=mean"]], ids=["export", "trim"])
def test_output_folders_are_new(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("trimformer.encoder.checkpoints.load.load", None)  # the refusal comes before any work
    for name in ("full", "full/file", "link", "pipe"):
        refused = sentence(trimformer(*command, home / "head", "--out", tmp_path / name))
        assert refused.startswith(f"The output folder {tmp_path / name} ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "link", "pipe"]


def test_predict_from_standard_input(out: Path) -> None:
    result = trimformer("predict", out / "model", stdin="the film was good\n\na dull plot\n")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert len(lines) == 3
    assert set(lines) <= {"pos", "neg"}


def test_predict_from_files(home: Path, out: Path) -> None:
    plain = trimformer("predict", out / "model", home / "reviews.csv", "--text", "review")
    assert plain.code == 0, plain.err
    answers = home / "answers.jsonl"
    result = trimformer("predict", out / "model", home / "scores.jsonl", "--json", "--out", answers)
    assert (result.code, result.out) == (0, "")
    objects = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [value["label"] for value in objects] == plain.out.splitlines()  # the same texts in both files
    assert objects[0]["scores"][objects[0]["label"]] == objects[0]["score"]


def test_predict_takes_no_export_of_another_model(home: Path) -> None:
    """`onnx` beside a model folder may be anybody's."""
    (home / "onnx").mkdir(exist_ok=True)
    (home / "onnx/model.onnx").write_bytes(b"of another model")
    assert trimformer("predict", home / "head", stdin="good\n").code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    result = trimformer(command, "--help")
    assert result.code == 0
    assert "Example" in result.out
    assert f"trimformer {command}" in result.out.split("Example")[1]


def test_help_lists_the_commands() -> None:
    result = trimformer("--help")
    assert result.code == 0
    assert all(command in result.out for command in COMMANDS)


def test_version() -> None:
    assert trimformer("--version").out == f"trimformer {version('trimformer')}\n"
