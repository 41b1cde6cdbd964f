"""A model with exits through predict, serve, bench and export: the files that are taken, the layers that are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command import sentence, trimformer
from tests.encoder.test_exits import exits
from tests.inference.serve.conftest import counted, running
from tests.models import tiny
from tests.tinymodel import texts, words_tokenizer, write_csv
from trimformer.deploy.agreement import agreement
from trimformer.deploy.export import export
from trimformer.deploy.mend import costliest_first
from trimformer.deploy.onnx import random_inputs
from trimformer.deploy.quantize_onnx import maps_of
from trimformer.deploy.quantize_openvino import samples
from trimformer.deploy.scoring import Scorer, as_model
from trimformer.deploy.thresholds import keep_thresholds, settle
from trimformer.deploy.writers import write
from trimformer.encoder import TrimformerForSequenceClassification
from trimformer.encoder.checkpoints.load import load
from trimformer.errors import TrimformerError
from trimformer.inference.predictor import Predictor
from trimformer.inference.reading import exits_in
from trimformer.inference.runtimes.backends import open_backend
from trimformer.inference.runtimes.exits import ExitSession
from trimformer.inference.runtimes.segments import together
from trimformer.measure.bench.bench import Texts, bench
from trimformer.measure.bench.score import score_variants
from trimformer.measure.bench.target import export_for
from trimformer.measure.bench.variants import make_variants
from trimformer.measure.device.pieces import latency_tables
from trimformer.pipeline.results import _judged
from trimformer.saved.exits import ANSWERS
from trimformer.search.measurement import scores_of
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.training.evaluate import predict_logits

NAMES = {0: "neg", 1: "pos"}
LINES = [text for text, _ in texts(40)]


def classifier(**others: Any) -> Any:
    """Two layers; about half of the texts are sure after the first."""
    given = {"exits": exits(after=[0]), "vocab_size": 30, "id2label": NAMES} | others
    model = TrimformerForSequenceClassification(tiny(2, **given).config).eval()
    coded = words_tokenizer()(LINES, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**coded, output_exits=True).exit_logits[0].numpy()
    entropy = ANSWERS["classification"].entropy
    assert entropy is not None
    found = sorted(set(entropy(logits).round(6).tolist()))
    model.config.exits["threshold"] = (found[len(found) // 2] + found[len(found) // 2 - 1]) / 2
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, and its files beside it as a run leaves them."""
    folder = tmp_path_factory.mktemp("run")
    model = classifier()
    model.save_pretrained(folder / "model")
    words_tokenizer().save_pretrained(folder / "model")
    export(model, folder / "onnx", tokenizer=words_tokenizer())
    return folder


def test_the_predictor_takes_the_segments_and_answers_as_pytorch(run: Path) -> None:
    exact, found = Predictor(run / "model", "torch"), Predictor(run / "model")
    assert found.backend == "onnx"
    for one, other in zip(found.predict(LINES), exact.predict(LINES), strict=True):
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert found.executed is not None
    assert exact.executed is not None
    counts = found.executed.take()
    assert counts == exact.executed.take()
    assert sum(counts) == len(LINES)
    assert min(counts) > 0


def test_a_whole_file_that_lies_there_is_not_taken_for_it(run: Path, tmp_path: Path) -> None:
    load(run / "model").save_pretrained(tmp_path)
    words_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"of a model before")
    assert Predictor(tmp_path).backend == "torch"
    with pytest.raises(TrimformerError, match=r"There is no .*model\.1-of-2\.onnx: export the model first"):
        Predictor(tmp_path, "onnx")


def test_predict_says_how_many_layers_the_texts_needed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n")
    result = trimformer("predict", run / "model", tmp_path / "a.txt", "--out", tmp_path / "answers")
    assert "of 2 layers, and the mean is 1." in " ".join(result.err.split())
    plain = trimformer("predict", run / "model", tmp_path / "a.txt", "--backend", "torch")
    assert plain.out == (tmp_path / "answers").read_text()


def test_serve_counts_layers(run: Path) -> None:
    predictor = Predictor(run / "model", threads=1)
    with running(predictor) as client:
        assert len(client.post("/predict", json={"texts": LINES}).json()["answers"]) == len(LINES)
        assert counted(client, 'trimformer_executed_layers_count{model="predict"}') == len(LINES)
        first = counted(client, 'trimformer_executed_layers_bucket{le="1.0",model="predict"}')
        total = counted(client, 'trimformer_executed_layers_sum{model="predict"}')
        assert total == first + 2 * (len(LINES) - first)


def test_bench_times_texts_and_nothing_else(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n")
    files = [str(run / "onnx" / "model.1-of-2.onnx"), f"int8={run / 'onnx' / 'model.int8.1-of-2.onnx'}"]
    given = dict(batch=[1, 4], threads=1, seconds=0, backends=["onnx", "onnx-int8", "torch"])
    with pytest.raises(TrimformerError, match=r"has exits: its time depends on what the texts say"):
        bench([run / "model"], **given)  # type: ignore[arg-type]
    result = bench([run / "model", *files], texts=Texts(tmp_path / "a.txt"), **given)  # type: ignore[arg-type]
    assert {t.lengths for t in result.timings} == {"padded", "bucketed"}
    assert all(t.median_ms is not None and t.mean_ms is not None and t.executed for t in result.timings)
    assert all(t.flops_per_s is None for t in result.timings)
    assert any("of 2 layers, and the mean is 1." in note for note in result.notes())
    said = trimformer("bench", files[0], "--batch", 1, "--data", tmp_path / "a.txt")
    assert said.code == 0, said.err
    assert "mean ms" in said.out
    refused = trimformer("bench", files[0])
    assert "Give texts of your own (--data FILE, or --task with its data)." in sentence(refused)


def test_a_target_is_chosen_by_texts(tmp_path: Path) -> None:
    model = classifier()
    with pytest.raises(TrimformerError, match="has exits: its time depends on what the texts say"):
        export_for("latency", model, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def outliers() -> Any:
    """Each feed-forward block has a large bias, and int8 sees little else; half of random inputs have each label."""
    given = exits(after=[0], reads="head")
    model = TrimformerForSequenceClassification(tiny(2, exits=given, id2label=NAMES).config).eval()
    coded = random_inputs(model.config, 64, 20, padded=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(weight, std=0.3)
            if name.endswith("ffn_in.bias"):
                weight[0] = 3000.0
            if name.endswith("ffn_out.weight"):
                weight *= 5
                weight[:, 0] = 0
        out = model(**coded, output_exits=True)
        for head, logits in ((model.exits["0"], out.exit_logits[0]), (model.head, out.logits)):
            head.output.bias[0] += (logits[:, 1] - logits[:, 0]).median() + 0.003
    return model


def test_files_are_scored_by_the_texts_that_leave_early(tmp_path: Path) -> None:
    settings = TaskSettings(data=str(write_csv(tmp_path / "reviews.csv")), text="review", label="stars")
    (fp32,) = export(classifier(), tmp_path / "a", precision=["fp32"], tokenizer=words_tokenizer(), task=settings)
    assert (fp32.score_drop, fp32.agreement) == (0, 1)


def test_a_file_that_rounds_has_a_threshold_of_its_own(tmp_path: Path) -> None:
    """It is that at which the file itself loses nothing that the budget does not allow, and stays with the file."""
    settings = TaskSettings(data=str(write_csv(tmp_path / "reviews.csv")), text="review", label="stars")
    model = classifier()
    fp32, int8 = export(model, tmp_path / "a", tokenizer=words_tokenizer(), task=settings)
    own = {"onnx-int8": int8.threshold}
    assert fp32.threshold is None
    assert (exits_in(tmp_path / "a") or {})["thresholds"] == own
    exact, rounded = (open_backend(file.path, file.backend, threads=1) for file in (fp32, int8))
    assert isinstance(exact, ExitSession)
    assert isinstance(rounded, ExitSession)
    assert (exact.shape.threshold, rounded.shape.threshold) == (model.config.exits["threshold"], int8.threshold)
    rows = Scorer(model, words_tokenizer(), settings).selection_rows()
    assert rows is not None
    rounded.run(rows.batch([*range(len(rows))]))
    counts = rounded.executed.take()
    assert settle(rounded, load_task(settings).task, rows) == int8.threshold
    rounded.run(rows.batch([*range(len(rows))]))
    assert rounded.executed.take() == counts
    export(model, tmp_path / "a", precision=["fp32"])  # the file in int8 is still that of this model
    assert (exits_in(tmp_path / "a") or {})["thresholds"] == own
    model.config.exits["thresholds"] = own  # as of a model that is loaded from such a folder
    export(model, tmp_path / "b")
    assert "thresholds" not in (exits_in(tmp_path / "b") or {})
    export(model, tmp_path / "a", precision=["int8"])  # a file that no threshold was chosen for
    assert "thresholds" not in (exits_in(tmp_path / "a") or {})


def test_agreement_is_that_at_the_threshold_of_fp32_everywhere(tmp_path: Path) -> None:
    """However many texts leave at the threshold of a file itself."""
    settings = TaskSettings(data=str(write_csv(tmp_path / "reviews.csv")), text="review", label="stars")
    model = classifier()
    model.config.exits["threshold"] = 0.0  # none leaves early, and the exit says otherwise
    with torch.no_grad():
        for weight in model.exits["0"].output.parameters():
            weight *= -1
    fp32, int8 = export(model, tmp_path, tokenizer=words_tokenizer(), task=settings)
    keep_thresholds(tmp_path, {"onnx-int8": 2.0})  # all leave at the first exit
    variants = make_variants({"m": fp32.path}, ["onnx"], 1, tmp_path) + make_variants({"m": int8.path}, [], 1, tmp_path)
    judge = Scorer(model, words_tokenizer(), settings)
    exact = predict_logits(model, judge.validation)
    assert variants[1].run is not None
    early = predict_logits(as_model(variants[1].run), judge.validation)
    assert agreement(judge.validation, exact, early) != int8.agreement
    known = outcome(judge.task, judge.validation, exact)
    assert _judged(variants[1], judge.task, judge.validation, exact, known)[1] == int8.agreement
    assert [one.agreement for one in score_variants(variants, {"m": fp32.path}, settings)] == [1, int8.agreement]
    found = scores_of(variants, judge.task, judge.validation)
    assert [one.agreement for one in found.values()] == [1, int8.agreement]


def test_a_threshold_is_chosen_once_for_a_mended_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[float] = []

    def once(*given: Any) -> float:
        chosen.append(settle(*given))
        return chosen[-1]

    answers = iter([False, False, True])  # of the file, with one map in fp32, and with two
    monkeypatch.setattr("trimformer.deploy.export.agrees", lambda _: next(answers))
    monkeypatch.setattr("trimformer.deploy.export.settle", once)
    settings = TaskSettings(data=str(write_csv(tmp_path / "reviews.csv")), text="review", label="stars")
    (int8,) = export(classifier(), tmp_path / "a", precision=["int8"], tokenizer=words_tokenizer(), task=settings)
    assert len(int8.mended.kept if int8.mended else ()) == 2
    assert chosen == [int8.threshold]


def test_threads_of_segments_do_not_spin(run: Path) -> None:
    """Each segment has threads of its own, which would be in the way of the next one's."""
    session = open_backend(run / "onnx" / "model.1-of-2.onnx", "onnx", threads=2)
    assert isinstance(session, ExitSession)
    options = [segment._session.get_session_options() for segment in session._segments]  # type: ignore[attr-defined]
    assert [one.get_session_config_entry("session.intra_op.allow_spinning") for one in options] == ["0", "0"]


def test_int8_files_are_mended_through_all_segments(unsmoothed: None, tmp_path: Path) -> None:
    model = outliers()
    (int8,) = export(model, tmp_path / "out", precision=["int8"])
    assert int8.mended is not None
    assert set(int8.mended.kept) <= {"layers.0.ffn_out", "layers.1.ffn_out"}  # what the large units go into
    assert int8.mended.before < 0.98 <= (int8.agreement or 0)
    names = [path.name for path in (tmp_path / "out").glob("*.onnx")]
    assert sorted(names) == ["model.int8.1-of-2.onnx", "model.int8.2-of-2.onnx"]
    assert int8.bytes == sum((tmp_path / "out" / name).stat().st_size for name in names)
    sources = together(write(model, "onnx", tmp_path / "fp32"))
    for backend in ("onnx-int8", "openvino-int8"):
        order = costliest_first(sources, backend, samples(model.config, None))
        assert sorted(order) == sorted(name for source in sources for name in maps_of(source))
        assert {"layers.0.ffn_in", "layers.1.ffn_in", "head.dense"} <= set(order)
        assert not any(name.startswith("exits.") for name in order)  # they are in fp32 as it is
        assert sorted(order[:2]) == ["layers.0.ffn_out", "layers.1.ffn_out"]


def test_an_export_that_is_cut_short_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(exits=exits(after=[0]))
    moved: list[str] = []
    replace = Path.replace

    def once(self: Path, target: Any) -> Path:
        if moved and self.suffix == ".onnx":
            raise KeyboardInterrupt
        moved.append(self.name)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", once)
        with pytest.raises(KeyboardInterrupt):
            write(model, "onnx", tmp_path)
    assert moved == ["model.2-of-2.onnx"]  # the first one, by which files are found, is the last to come
    with pytest.raises(TrimformerError, match=r"There is no .*model\.1-of-2\.onnx"):
        open_backend(tmp_path / "model.1-of-2.onnx", "onnx")
    assert open_backend(write(model, "onnx", tmp_path), "onnx").output == "logits"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.1-of-2.onnx", "model.2-of-2.onnx"]


def test_an_archive_of_torch_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="export this model, whose texts leave early, to onnx or openvino"):
        export(classifier(), tmp_path, "torch")
    assert not any(tmp_path.iterdir())


def test_a_table_of_the_device_is_refused() -> None:
    with pytest.raises(TrimformerError, match="a table predicts what whole layers cost"):
        latency_tables(classifier())
