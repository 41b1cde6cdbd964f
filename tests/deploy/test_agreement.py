"""Files that answer otherwise than fp32: how that is counted, and that they are never recommended in silence."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer.deploy import agreement as module
from trimformer.deploy.export import ExportedFile, export, export_all, notes_of
from trimformer.deploy.mend import Mended, costliest_first, fewest
from trimformer.deploy.onnx import random_inputs
from trimformer.deploy.openvino import read
from trimformer.deploy.quantize_onnx import maps_of, plain_name
from trimformer.deploy.quantize_openvino import openvino_int8, samples
from trimformer.inference.batches import inputs, tokenise
from trimformer.inference.runtimes.backends import parts
from trimformer.measure.bench.target import MeasuredFile, choose, export_for
from trimformer.pipeline import results
from trimformer.recipe.settings import ExportSettings
from trimformer.tasks.cuts import Cuts
from trimformer.tasks.encode import encode
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_validation

WORDS = ["good", "bright", "bad", "dull", "the", "film", "was", "plot"]


def texts() -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=generator.integers(2, 9))) for _ in range(60)]


pytestmark = pytest.mark.usefixtures("unsmoothed")


def outliers(of_texts: bool = True) -> Any:
    """A classifier whose feed-forward blocks have one large bias each: fp32 never sees it, int8 sees little else.

    Each of two labels is the answer to half of the texts, or of random inputs.
    """
    model = tiny(2, labels=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("ffn_in.bias"):
                weight[0] = 3000.0
            if name.endswith("ffn_out.weight"):
                weight *= 5
                weight[:, 0] = 0
        logits = model(**(asked() if of_texts else random_inputs(model.config, 64, 20, padded=True))).logits
        model.head.output.bias[0] += (logits[:, 1] - logits[:, 0]).median() + 0.003  # the median itself is no tie
    return model


def asked() -> Any:
    """The texts as a batch."""
    found = inputs(tokenise("classification", texts(), words_tokenizer(), Cuts(40, "head", 0)), np.arange(60))
    return {name: torch.from_numpy(array) for name, array in found.items()}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with the labels that the model gives them in fp32, so that fp32 is right on all of them."""
    model = outliers()
    labels = model(**asked()).logits.argmax(dim=1).tolist()
    lines = [f"{text},{model.config.label_names[label]}" for text, label in zip(texts(), labels, strict=True)]
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    file.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return file


def settings_of(rows: Path) -> TaskSettings:
    return TaskSettings(validation=str(rows), text="text", label="label")


@pytest.fixture(scope="module")
def exported(rows: Path, unsmoothed: None, tmp_path_factory: pytest.TempPathFactory) -> list[ExportedFile]:
    """With no map left in fp32, as where too many would have to be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimformer.deploy.mend.MOST", 0)
        folder = tmp_path_factory.mktemp("files")
        return export(outliers(), folder, tokenizer=words_tokenizer(), task=settings_of(rows))


def test_export_warns_and_the_choice_is_fp32(exported: list[ExportedFile]) -> None:
    exact, int8 = exported
    assert (exact.score, exact.agreement) == (1, 1)
    assert int8.score is not None
    assert int8.score < 0.9
    assert int8.agreement == pytest.approx(int8.score)  # of the rows, not of random inputs
    (said,) = notes_of(exported)
    assert said.startswith("WARNING: onnx-int8 answers only ")
    assert said.endswith("% of the validation rows as fp32 does, so that it is not recommended.")
    fast = [MeasuredFile(exact, [], exact.bytes), MeasuredFile(int8, [], int8.bytes)]
    assert choose(fast, max_drop=100).file is exact


def weights_of(exact: ExportedFile) -> list[str]:
    """The matrices of linear maps in an fp32 file."""
    graph = onnx.load(str(exact.path)).graph
    return [node.input[1] for node in graph.node if node.op_type == "Gemm"]


def test_the_maps_that_cost_the_answers_stay_in_fp32(exported: list[ExportedFile], rows: Path, tmp_path: Path) -> None:
    (int8,) = export(outliers(), tmp_path, precision=["int8"], tokenizer=words_tokenizer(), task=settings_of(rows))
    assert int8.agreement is not None
    assert int8.agreement >= 0.98
    assert int8.mended is not None
    assert set(int8.mended.kept) <= {"layers.0.ffn_out", "layers.1.ffn_out"}  # what the large units go into
    assert int8.mended.before == exported[1].agreement
    weights = {weight.name for weight in onnx.load(str(int8.path)).graph.initializer}
    assert {plain_name(name) for name in weights & set(weights_of(exported[0]))} == set(int8.mended.kept)
    (said,) = notes_of([int8])
    assert said.startswith(f"onnx-int8: {len(int8.mended.kept)} of 15 maps stay in fp32 (layers.")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".onnx"] == ["model.int8.onnx"]


def test_the_files_of_both_runtimes_are_mended_in_one_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a place of its own; what is said of its answers is said of the file that stays, not of the last trial."""
    agreements, judged = iter([False, False, False, True, False] * 2), list[str]()
    kept: dict[str, str] = {}

    class Recorder:
        task, reference = load_validation(TaskSettings(name="sentiment"), None)[0], 0.5

        def training_texts(self) -> None:
            return None

        def judge(self, session: Any) -> tuple[str, float]:
            judged.append(f"answers of file {len(judged)}")
            return judged[-1], 0.5

        def score(self, found: str) -> float:
            return 0.5

        def keep(self, name: str, found: str) -> None:
            kept[name] = found

    def again(model: Any, backend: str, sources: list[Path], targets: list[Path], *_: Any) -> None:
        for part in parts(sources[0].parent / targets[0].name):
            shutil.copy(part, targets[0].parent)

    monkeypatch.setattr("trimformer.deploy.mend.costliest_first", lambda *_: [f"map-{index}" for index in range(8)])
    monkeypatch.setattr("trimformer.deploy.export.agrees", lambda _: next(agreements))
    monkeypatch.setattr("trimformer.deploy.mend.write_int8", again)
    files = export_all(tiny(1), tmp_path, ["onnx-int8", "openvino-int8"], None, Recorder())  # type: ignore[arg-type]
    for file in files:
        assert file.mended is not None
        assert len(file.mended.kept) == 4  # 1, 2 and 4 were tried, then 3
    # Of each the file and four trials, none of them twice; the last trial but one is what stays.
    assert kept == {"onnx-int8": "answers of file 3", "openvino-int8": "answers of file 8"}
    assert len(judged) == 10


def test_openvino_leaves_maps_in_fp32_and_knows_their_names(exported: list[ExportedFile], tmp_path: Path) -> None:
    source, inputs = exported[0].path, samples(outliers().config, None)
    first = costliest_first([source], "openvino-int8", inputs)[:2]
    assert sorted(first) == ["layers.0.ffn_out", "layers.1.ffn_out"]
    kept = maps_of(source)[:-1]
    openvino_int8(source, tmp_path / "model.xml", inputs, kept)
    operations = read(tmp_path / "model.xml").get_ops()
    (rounded,) = (op.get_friendly_name() for op in operations if op.get_type_name() == "FakeQuantize")
    assert "Tanh" in rounded  # the input of the one map that is not kept


@pytest.mark.parametrize(("needed", "asked"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 4, 3]), (5, [1, 2, 4, 5])])
def test_as_few_maps_as_are_needed_stay(needed: int, asked: list[int]) -> None:
    seen = []

    def agrees(kept: Any) -> bool:
        seen.append(len(kept))
        return len(kept) >= needed

    assert fewest(list("abcdefghij"), agrees) == list("abcdefghij")[:needed]
    assert seen == asked
    assert fewest(list("abc"), agrees) == (["a"] if needed == 1 else None)
    assert fewest(["a"], agrees) is None


def test_compress_says_what_stays(exported: list[ExportedFile], rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load_with_head", "load_tokenizer", "on_fastest"):
        monkeypatch.setattr(results, name, lambda _: None)
    mended = dataclasses.replace(exported[1], agreement=0.99, mended=Mended(("layers.0.ffn_out",), 15, 0.5))
    files: list[Any] = exported
    monkeypatch.setattr(results, "export_all", lambda *_, **__: files)
    task, examples = load_validation(settings_of(rows), outliers().config.label_names)
    data = encode(task, examples, words_tokenizer(), 40)
    given = (ExportSettings(), rows.parent, exported[0].path.parent, task, data, data, data)
    found = results.export_model(*given)
    assert [file.label_agreement for file in found] == [file.agreement for file in exported]
    (said,) = results.notes_of(found, "accuracy")
    assert said.startswith("WARNING: ")
    assert "for 100.00: use the fp32 file." in said
    files = [exported[0], mended]
    (said,) = results.notes_of(results.export_model(*given), "accuracy")
    assert "the maps layers.0.ffn_out stay in fp32, and it answers 99.0 % of the validation rows" in said
    assert said.endswith("with all maps in int8 these were 50.0 %.")


def test_without_data_the_smallest_is_not_taken_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.target.available_backends", lambda: ["onnx", "onnx-int8"])
    monkeypatch.setattr("trimformer.deploy.mend.MOST", 0)
    choice = export_for("size", outliers(of_texts=False), tmp_path)
    assert choice.chosen.backend == "onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert choice.notes[0].startswith("WARNING: onnx-int8 answers only ")
    assert "of the random inputs as fp32 does" in choice.notes[0]
    assert "give data (--validation or --task)" in choice.notes[1]


def same(kind: str, exact: Any, other: Any, data: Any = None) -> list[bool]:
    found: list[bool] = KINDS[kind].same(data, np.asarray(exact, dtype=float), np.asarray(other, dtype=float)).tolist()
    return found


def test_what_is_the_same_answer() -> None:
    assert same("classification", [[1, 2], [2, 1]], [[1, 9], [1, 2]]) == [True, False]
    assert same("multilabel", [[1, -1], [1, 1]], [[9, -9], [1, -1]]) == [True, False]
    assert same("tokens", [[1, 2], [2, 1]], [[1, 9], [1, 2]]) == [True, False]


def test_numbers_are_compared_in_their_own_standard_deviations() -> None:
    exact = 1000 * np.array([[-1.0], [1.0]])  # of a standard deviation of 1000
    assert same("regression", exact, exact + 190) == [True, True]
    assert same("regression", exact, exact + np.array([[0], [210]])) == [True, False]
    assert same("regression", np.ones((3, 1)), np.ones((3, 1)) + 1e-6) == [True] * 3  # rounding of a constant
    far = np.array([[200_000.0], [200_010.0]])  # far from 0, the spread still decides
    assert same("regression", far, far[::-1]) == [False, False]


def test_wrong_answers_of_spans_are_compared_too(tmp_path: Path) -> None:
    tokenizer = words_tokenizer()
    data = tokenise("spans", [("good", "the film was dull")], tokenizer, Cuts(40, "head", 8))
    exact = np.zeros((len(data.ids), 2))
    exact[3] = 5  # the
    other = np.zeros((len(data.ids), 2))
    other[4] = 5  # film
    assert module.agreement(data, exact, exact) == 1
    assert module.agreement(data, exact, other) == 0


def test_the_rule() -> None:
    assert module.agrees(49 / 50)
    assert not module.agrees(0.9799)
    assert module.percent(0.9799) == "97.9 %"  # never rounded up to what would be enough


def test_a_task_of_numbers_has_an_agreement() -> None:
    data = tokenise("regression", ["good film", "bad film", "dull"], words_tokenizer(), Cuts(40, "head", 0))
    labels = np.array([[1.0], [2.0], [3.0]])
    assert module.agreement(data, labels, labels[::-1]) == pytest.approx(1 / 3)
