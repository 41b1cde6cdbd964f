"""Numbers as people read them, the same in the terminal, the HTML and the model card."""

from __future__ import annotations

import math

from ..tasks.metric import metric

NONE = "–"
MINUS = "−"
BACKENDS = {
    "eager": "Transformers eager",
    "sdpa": "Transformers SDPA",
    "compile": "Transformers compiled",
    "torch": "PyTorch",
    "torch-compile": "PyTorch compiled",
    "torch-bf16": "PyTorch bf16",
    "torch-fp16": "PyTorch fp16",
    "torch-graphs": "PyTorch fp16, CUDA graphs",
    "torch-export": "PyTorch exported",
    "onnx": "ONNX Runtime",
    "onnx-cuda": "ONNX Runtime CUDA",
    "onnx-int8": "ONNX Runtime int8",
    "openvino": "OpenVINO",
    "openvino-bf16": "OpenVINO bf16",
    "openvino-int8": "OpenVINO int8",
    "openvino-int4": "OpenVINO int4 weights",
}


def backend(name: str) -> str:
    """The name of a backend for people; unknown ones stay as they are."""
    return BACKENDS.get(name, name)


def score(value: float, name: str = "", few: int = 3) -> str:
    """The metric of this name with ``few`` decimals, an error with two digits at the least."""
    return f"{value:.{metric(name).decimals(value, few)}f}".replace("-", MINUS)


def hundredths(value: float, name: str, few: int = 2) -> str:
    """The metric of this name times 100 with ``few`` decimals, as drops are counted; an error as it is."""
    return f"{100 * value:.{few}f}".replace("-", MINUS) if metric(name).factor == 100 else score(value, name)


def points(difference: float, name: str, unit: bool = True) -> str:
    """A signed difference of a metric in points (hundredths); an error is not a share and keeps its unit."""
    if metric(name).lower_is_better:
        return _signed(difference, metric(name).decimals(difference, 3))
    return _signed(100 * difference, 1) + (" points" if unit else "")


def count(value: float) -> str:
    """A count with three digits and K, M, G or T."""
    return _scaled(value, 1000, ["", "K", "M", "G", "T"])


def size(value: float) -> str:
    """Bytes in MB (10^6) and the like."""
    return _scaled(value, 1000, ["B", "kB", "MB", "GB", "TB"])


def milliseconds(value: float) -> str:
    """A time in milliseconds with about three digits."""
    return f"{value:.{_decimals(value)}f} ms"


def duration(seconds: float) -> str:
    """A time as 0.25 s, 12.3 s, 4 min 05 s or 2 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.{2 if seconds < 1 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent_change(before: float, after: float) -> str:
    """The change in percent of what was before."""
    return NONE if not before else _signed(100 * (after / before - 1), 0) + " %"


def speedup(before: float, after: float) -> str:
    """How many times as fast: 1.60× is faster, 0.90× is slower."""
    return NONE if after <= 0 else f"{before / after:.2f}×"


def factor(value: float) -> str:
    """How many times as fast, with two digits or, near 1, three: 11×, 3.3×, 1.13×."""
    return f"{value:.{2 if value < 1.995 else 1 if value < 9.95 else 0}f}×"


def p_value(value: float) -> str:
    """A p-value with three decimals, never rounded to zero."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _signed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return NONE
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+") + text


def _scaled(value: float, base: int, units: list[str]) -> str:
    unit = 0
    while abs(value) >= 0.9995 * base and unit < len(units) - 1:
        value /= base
        unit += 1
    text = f"{value:.0f}" if unit == 0 else f"{value:.{_decimals(value)}f}"
    return f"{text} {units[unit]}".rstrip()


def _decimals(value: float) -> int:
    return 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
