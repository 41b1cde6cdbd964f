"""report.html: whole, offline, escaped, and without empty sections."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import curve
from trimformer.errors import TrimformerError
from trimformer.report import charts, templating
from trimformer.report.report import html, plotly_base64, write_report
from trimformer.report.schema import Curve, Report
from trimformer.tasks.augmentation.info import AugmentationInfo, Replaced

EVIL = "<script>alert('x')</script>"


def _without_library(page: str) -> str:
    return re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", page, flags=re.DOTALL)


def _titles(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_writes_both_files_and_nothing_else(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert Report.model_validate_json((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    assert (tmp_path / "report.html").stat().st_size < 2_500_000


def test_page_has_all_sections(report: Report) -> None:
    page = html(report)
    assert _titles(page) == [
        "Dense and trimmed",
        "Time of one forward pass",
        "Curves of the training",
        "Layers of the trimmed model",
        "Exported files",
        "Steps",
        "Cost of a training step",
        "Data",
        "Machine",
        "Notes",
        "Settings",
    ]
    assert page.count('id="plotly"') == 1
    for text in ("−0.6 points", "1 h 10 min", "99.2 %", "keep_layers: 3", "Example CPU"):
        assert text in page


def test_new_training_rows_are_shown(report: Report) -> None:
    assert "Augmented rows" not in html(report)
    report.augmentation["distil"] = AugmentationInfo(
        name="word-replacement", seed=3, rows=10, new=150, twice=40, held_out=2,
        sources={"glove": "neighbours in v.txt", "word-table": "neighbours in the word table"},
        replaced={"glove": 300, "word-table": 0}, words=1200, seconds=2.0,
        examples=[Replaced(before=["a film", EVIL], after=["a movie", EVIL])],
    )  # fmt: skip
    page = html(report)
    assert "Augmented rows of distil" in _titles(page)
    assert (
        "word-replacement made 150 new rows of 10 training rows and replaced 25% of the words of the texts that it "
        "changed (300 by neighbours in v.txt); the teacher labels them."
    ) in page
    assert "a movie / &lt;script&gt;" in page
    assert EVIL not in page


def test_page_fetches_nothing(report: Report) -> None:
    page = _without_library(html(report))
    assert "://" not in page
    assert not re.search(r"(?:src|href)\s*=|@import|url\(", page)


def test_library_is_plotly() -> None:
    text = gzip.decompress(base64.b64decode(plotly_base64())).decode()
    assert "Plotly" in text


def test_sections_without_data_are_left_out(report: Report) -> None:
    bare = Report(
        trimformer_version="0",
        created="2026-01-01T00:00:00+00:00",
        model="m",
        task=report.task.model_copy(update={"labels": []}),
        method="none",
        variants=[],
    )
    page = html(bare)
    assert _titles(page) == ["Data"]
    assert "<script" not in page
    assert len(page) < 20_000


def test_everything_given_is_escaped(report: Report) -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, str) and value not in ("dense", "trimmed", "bootstrap"):
            return EVIL
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        return [poison(item) for item in value] if isinstance(value, list) else value

    content = poison(report.model_dump())
    content["hardware"][EVIL] = content["training_cost"][EVIL] = content["recipe"][EVIL] = 1.0
    content["hardware"][EVIL] = EVIL
    page = html(Report.model_validate(content))
    assert "alert(" in page
    assert EVIL not in page
    assert "<script>alert" not in page


def test_figures_are_what_plotly_knows(report: Report) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    found = [*charts.curves(report), *charts.latency(report)]
    assert len(found) == 6
    for chart in found:
        graph_objects.Figure(_plain_colours(chart.figure))


def _plain_colours(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("@"):
        return "#123456"
    if isinstance(value, dict):
        return {key: _plain_colours(item) for key, item in value.items()}
    return [_plain_colours(item) for item in value] if isinstance(value, list) else value


def test_every_colour_is_in_both_themes(report: Report) -> None:
    script = (templating.TEMPLATES / "report.js").read_text(encoding="utf-8")
    page = _without_library(html(report))
    for name in set(re.findall(r'"@(\w+)"', page)):
        assert len(re.findall(rf"\b{name}: \"#", script)) == 2, name


def test_long_histories_are_thinned_but_keep_their_ends(report: Report) -> None:
    report.curves = [
        curve("keep_probability", {step: [0.5] * 6 for step in range(5000)}),
        curve("reward", dict.fromkeys(range(5000), 0.1)),
    ]
    for chart in charts.curves(report):
        steps = chart.figure["data"][0]["x"]
        assert len(steps) == charts.MAX_POINTS
        assert (steps[0], steps[-1]) == (0, 4999)


def test_every_curve_of_every_stage_is_drawn(report: Report) -> None:
    report.curves = [
        curve("keep_probability", {1: [0.0, 1.0], 2: [0.2, 0.9]}),
        curve("weights_left", {1: [3.0, -1.0], 2: [2.0, -2.0]}),
        curve("kept_rows", {1: 5.0}),
        Curve(stage="later", name="reward", points=[]),
        curve("reward", {1: 0.5}).model_copy(update={"stage": "later"}),
    ]
    drawn = charts.curves(report)
    assert [chart.title for chart in drawn] == [
        "attendout: keep probability of each layer",
        "attendout: weights left of each layer",
        "attendout: kept rows",
        "later: reward",
    ]
    scales = [(chart.figure["data"][0]["zmin"], chart.figure["data"][0]["zmax"]) for chart in drawn[:2]]
    assert scales == [(0, 1), (-2, 3)]
    assert drawn[0].alternative == "At step 2: layer 0 0.20, layer 1 0.90."
    assert drawn[2].alternative == "From 5.000 at step 1 to 5.000 at step 1."


def test_a_target_is_in_the_picture_of_what_comes_to_it_and_paths_are_one_picture(report: Report) -> None:
    report.curves = [
        curve("cost", {1: 1.0, 9: 0.6}),
        curve("cost target", {1: 0.5, 9: 0.5}),
        curve("alpha inputs", {1: [5.0, 5.0, 5.0], 9: [-6.0, 5.5, -1.0]}),
    ]
    cost, paths = charts.curves(report)
    assert [line["name"] for line in cost.figure["data"]] == ["cost", "target"]
    assert cost.alternative == "From 1.000 at step 1 to 0.600 at step 9. The target there is 0.500."
    assert paths.title == "attendout: alpha inputs"
    assert paths.figure["data"][0]["z"] == [[5.0, -6.0], [5.0, 5.5], [5.0, -1.0]]
    assert paths.alternative == "At step 9 2 of 3 are below 0."


def test_moving_mean() -> None:
    assert charts._moving_mean([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]


def test_missing_packages_are_named(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "plotly" else find(name))
    with pytest.raises(TrimformerError, match=re.escape('needs plotly: pip install "trimformer[report]"')):
        write_report(report, tmp_path)
    assert (tmp_path / "report.json").is_file()
    assert not (tmp_path / "report.html").exists()


def test_import_needs_no_extra() -> None:
    code = (
        "import sys; sys.modules['plotly'] = sys.modules['jinja2'] = None\n"
        "import trimformer.report.report, trimformer.report.card, trimformer.measure.significance\n"
    )
    # torch itself may use jinja2, so only these modules are loaded, without the package's __init__.
    stub = (
        "import types, importlib.util as u, pathlib\n"
        f"root = pathlib.Path({str(Path(templating.__file__).parents[1])!r})\n"
        "import sys\n"
        "for n, p in (('trimformer', root), ('trimformer.measure', root / 'measure')):\n"
        "    m = types.ModuleType(n); m.__path__ = [str(p)]; sys.modules[n] = m\n"
    )
    subprocess.run([sys.executable, "-c", stub + code], check=True)


def test_unwritable_folder_is_one_sentence(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrimformerError, match="cannot be written"):
        write_report(report, tmp_path / "file")
