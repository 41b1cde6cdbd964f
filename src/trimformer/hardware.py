"""What the numbers were measured on: processor, memory, software."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import torch

from .cores import usable_cores

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
ISA_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instruction sets that change the speed of matrix products, as Linux names them."""


def hardware() -> dict[str, str]:
    """The machine and the software versions; what cannot be found out is left out.

    Keys: cpu, cores, torch threads, memory, isa, gpu, os, python, torch, transformers, onnxruntime, openvino.
    """
    entries = {
        "cpu": _cpu_fields().get("model name") or platform.processor() or platform.machine(),
        "cores": str(usable_cores()),
        "torch threads": str(torch.get_num_threads()),
        "memory": _memory(),
        "isa": " ".join(flag for flag in ISA_FLAGS if flag in cpu_flags()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": _version("transformers"),
        "onnxruntime": _version("onnxruntime"),
        "openvino": _version("openvino"),
    }
    return {key: value for key, value in entries.items() if value}


def has_native_bf16() -> bool:
    """Whether bfloat16 products run in hardware; False where that is not known, because emulation is slow.

    With CUDA the GPU is asked, else the processor's flags (Linux on x86 only).
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags())


def int8_saturates() -> bool:
    """Whether sums of int8 products overflow in this processor's kernels: x86 with AVX2 and no VNNI.

    There ONNX Runtime adds pairs of unsigned inputs times signed weights in 16 bits.
    """
    flags = cpu_flags()
    return "avx2" in flags and {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)


def cpu_flags() -> frozenset[str]:
    """The processor's flags as Linux names them; empty elsewhere."""
    return frozenset(_cpu_fields().get("flags", "").split())


def _cpu_fields() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    try:
        block = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory() -> str:
    """Physical memory in GiB, which a container's limit may undercut."""
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return ""
    return f"{kib / 2**20:.1f} GiB"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
