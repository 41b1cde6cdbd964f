"""benchmarks/pruning.py: the methods that it compares are told the same, and its table says what movement gains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trimformer.methods import METHODS

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_magnitude_and_movement_have_the_same_schedule_and_training() -> None:
    import pruning

    made = {name: METHODS[method["name"]].Settings(**method) for name, method in pruning.runs().items()}
    for share in ("15%", "5%"):
        one: Any = made[f"magnitude-{share}"]
        other: Any = made[f"movement-{share}"]
        assert (one.density, one.begin, one.end) == (other.density, other.begin, other.end)
    first, second = (pruning.stages_of(pruning.runs()[name], 4) for name in ("magnitude-5%", "movement-5%"))
    assert [stage["training"] for stage in first] == [stage["training"] for stage in second]
    blocks = pruning.stages_of(pruning.runs()["blocks"], 4)
    assert sum(stage["training"]["epochs"] for stage in blocks) == first[0]["training"]["epochs"]


def test_the_table_pairs_the_seeds() -> None:
    import pruning_tables

    def run(score: float, note: str) -> dict[str, Any]:
        found = {"metric": "accuracy", "scores": {"accuracy": score}, "dense_scores": {"accuracy": 0.9}}
        return found | {"params": [20e6, 20e6], "notes": ["Something.", note]}

    stays = "pruning: 5 of 100 weights of the layers' linear maps stay (5.0%), those of each matrix."
    header, rows = pruning_tables.runs({
        "sst2 magnitude-5% seed 0": run(0.6, stays),
        "sst2 movement-5% seed 0": run(0.7, stays),
        "sst2 movement-5% seed 1": run(0.8, stays),
        "sst2 blocks seed 0": run(0.85, "pruning: 30.2% of the weights of the layers' linear maps stay, in blocks."),
    })  # fmt: skip
    assert [row[:6] for row in rows] == [
        ["sst2", "magnitude", "5.0 %", "accuracy 60.0", "90.0", ""],
        ["sst2", "movement", "5.0 %", "accuracy 75.0 ± 7.1", "90.0 ± 0.0", "+10.0"],
        ["sst2", "blocks", "30.2 %", "accuracy 85.0", "90.0", ""],
    ]
    assert len(header) == len(rows[0])
