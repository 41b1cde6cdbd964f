"""The measured limit of the machine."""

from __future__ import annotations

import numpy as np
import pytest

from trimformer.measure.bench import peak as module
from trimformer.measure.bench.peak import Peak, best, matrix_peaks


def test_every_precision_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZES", ((64, 32, 48),))
    monkeypatch.setattr(module, "SECONDS", 0.0)
    peaks = matrix_peaks(1)
    assert {"fp32", "int8"} <= {peak.precision for peak in peaks}
    assert all(peak.flops_per_s > 0 and peak.size == (64, 32, 48) for peak in peaks)


def test_the_products_are_those_that_are_counted() -> None:
    """Each library multiplies (rows, inputs) by (inputs, outputs); int8 gives whole numbers times a scale."""
    seen = set()
    for precision, library, product in module._products(64, 32, 48, 1):
        result = product()
        seen.add((precision, library))
        if library == "onnxruntime":
            assert np.shape(result[0]) == (64, 48)  # type: ignore[index]
        if library == "openvino":
            assert next(iter(result.values())).shape == (64, 48)  # type: ignore[attr-defined]
    assert {("fp32", "torch"), ("int8", "torch"), ("fp32", "onnxruntime"), ("int8", "onnxruntime")} <= seen


def test_the_best_of_each_precision() -> None:
    low, high, other = (Peak(p, rate, "torch", (1, 1, 1)) for p, rate in (("fp32", 1), ("fp32", 2), ("int8", 1)))
    assert best([low, other], [high]) == [high, other]
