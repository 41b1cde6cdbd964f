"""A search that distils from texts without labels, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.search.conftest import Cut, recipe, result, weights
from trimformer.pipeline import stages
from trimformer.pipeline.run_folder import RunFolder
from trimformer.search.run import run

pytestmark = pytest.mark.usefixtures("counted")


def with_texts(out: str, **changes: Any) -> Any:
    """A search beside whose 80 labelled rows there are 32 texts."""
    Path("more.txt").write_text("".join(f"the music and plot {i * 'very '}bright\n" for i in range(32)))
    made = recipe(out, **changes)
    return made.model_copy(update={"task": made.task.model_copy(update={"texts": ["more.txt"]})})


@pytest.mark.slow
def test_all_but_the_dense_model_learn_from_them_also_after_a_cut(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}
    train, write = stages.train, RunFolder.write_json
    monkeypatch.setattr(
        stages,
        "train",
        lambda method, rows, *a, **k: (seen.setdefault(k["title"], len(rows)), train(method, rows, *a, **k))[1],
    )
    report = run(with_texts("more"))
    rows = report.task.n_train
    assert report.task.n_unlabelled == 32
    assert seen.pop("dense") == rows
    exits = {title: seen.pop(title) for title in [*seen] if title.endswith("-exits")}
    assert set(exits.values()) == {rows}  # exits learn from the layers beneath them, on the rows alone
    assert set(seen.values()) == {rows + 32}
    assert "beside which the model was distilled on 32 texts" in Path("more/model/README.md").read_text()

    def cutting(self: RunFolder, file: str, content: Any) -> None:
        write(self, file, content)
        if file == "rung-1.json":
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_json", cutting)
        with pytest.raises(Cut):
            run(with_texts("cut"))
    assert result(run(with_texts("cut"), resume=True)) == result(report)
    assert weights(Path("cut")) == weights(Path("more"))


def test_a_time_budget_plans_with_them(home: Path) -> None:
    report = run(with_texts("timed", time_budget="10h"))
    assert report.task.n_unlabelled == 32
    assert all(point.epochs > 0 for point in report.points if point.layers is None)
