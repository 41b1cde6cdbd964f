"""What is timed: one model under one back-end, as a function from inputs to outputs."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from ...deploy.writers import write
from ...encoder import TrimformerConfig, TrimformerModel, TrimformerWithHead
from ...encoder.checkpoints.families import to_huggingface
from ...encoder.checkpoints.load import load, read_config
from ...encoder.checkpoints.shapes import PREFIX
from ...errors import TrimformerError
from ...hardware import has_native_bf16
from ...inference.runtimes.backends import FILE_BACKENDS, open_backend
from ...inference.runtimes.exits import LayerCount, counts_of, executed_of
from ...inference.runtimes.segments import whole
from ...inference.runtimes.session import Session
from ...quiet import no_foreign_bars
from ...tasks.encoding.encoded import Encoded
from ...training.evaluate import fastest_device

STOCK = {"eager": "eager", "sdpa": "sdpa", "compile": "sdpa"}
"""Stock Hugging Face classes, and the attention with which they run."""
TORCH = {
    "torch": torch.float32,
    "torch-compile": torch.float32,
    "torch-bf16": torch.bfloat16,
    "torch-fp16": torch.float16,
    "torch-graphs": torch.float16,
}
"""This encoder in PyTorch, and the type of its weights; ``torch-graphs`` replays CUDA graphs."""
COMPILED = {"compile": "default", "torch-compile": "default", "torch-graphs": "reduce-overhead"}
GPU_ONLY = ("torch-fp16", "torch-graphs", "onnx-cuda")
BACKENDS = (*STOCK, *TORCH, "onnx-cuda", *FILE_BACKENDS)
MAIN = ("eager", "torch", "torch-fp16", "onnx-cuda", "onnx", "onnx-int8", "openvino", "openvino-int8")
"""Those that matter most: the stock class, this encoder (on a GPU in fp16 too), each runtime's fp32 and int8 file."""

Model = TrimformerModel | TrimformerWithHead
ForwardPass = Callable[[dict[str, Tensor]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A model under a back-end.

    run: takes int64 inputs (batch, n) and gives the output on the host; safe to time. None: it cannot run, see
    ``skipped``. path: the folder or file that a fresh process opens, None where there is none. config, head: what the
    operations are counted from; None where unknown. executed: counts the layers of the texts that may leave early.
    session: what runs a file; None where no file is run.
    """

    name: str
    backend: str
    run: ForwardPass | None
    skipped: str = ""
    path: Path | None = None
    config: TrimformerConfig | None = None
    head: type[TrimformerWithHead] | None = None
    executed: LayerCount | None = None
    session: Session | None = None

    def run_by(self, session: Session) -> Variant:
        """The variant with this session of its file."""
        return dataclasses.replace(self, run=session.run, executed=counts_of(session), session=session)


def available_backends() -> list[str]:
    """The back-ends that are installed here and that this processor, or GPU, runs in hardware."""
    gpu = torch.cuda.is_available()
    missing = {extra for extra, package in {"onnx": "onnxruntime", "openvino": "openvino"}.items() if not _has(package)}
    absent = {name for name, file in FILE_BACKENDS.items() if file.extra in missing}
    if not gpu:
        absent.update(GPU_ONLY)
        if not any(map(shutil.which, ("g++", "clang++", "cl"))):
            absent.update(COMPILED)
    if not gpu or "onnx" in missing or "CUDAExecutionProvider" not in _providers():
        absent.add("onnx-cuda")
    if not has_native_bf16():
        absent.update(("torch-bf16", "openvino-bf16"))
    return [name for name in BACKENDS if name not in absent]


def precision(backend: str) -> str:
    """fp32, bf16, fp16 or int8: in which most of its products are computed; int4 weights are multiplied in int8."""
    if backend in FILE_BACKENDS:
        found: str = FILE_BACKENDS[backend].precision
        return {"int4": "int8"}.get(found, found)
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(TORCH.get(backend, torch.float32), "fp32")


def check_backends(backends: Sequence[str]) -> None:
    """Raise TrimformerError for a name that is none."""
    unknown = [backend for backend in backends if backend not in BACKENDS]
    if unknown:
        raise TrimformerError(f"Unknown backend {unknown[0]!r}: use some of {', '.join(BACKENDS)}.")


def make_variants(
    models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model],
    backends: Sequence[str],
    threads: int,
    folder: Path,
    calibration: Encoded | None = None,
    begin: Callable[[str, str], bool] = lambda name, backend: True,
    *,
    quick: bool = False,
) -> list[Variant]:
    """Models under back-ends, in the order given; ``folder`` takes the files that have to be written.

    models: as :func:`trimformer.measure.bench.latency.benchmark` takes them. An exported file has its own back-end,
    whatever the others are. begin: told of a model's name and a back-end before that file is made; False leaves it out.
    quick: files are written as :func:`trimformer.deploy.writers.write` does with it.
    """
    check_backends(backends)
    variants: list[Variant] = []
    for index, (name, given) in enumerate(named(models).items()):
        source = _source(given)
        if isinstance(source, Path):
            variants += _of_file(name, source, backends, threads)
        else:
            wanted = (backend for backend in backends if begin(name, backend))  # asked as each one's turn comes
            variants += _of_model(name, source, wanted, threads, folder / str(index), calibration, quick)
    return variants


def named(models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model]) -> dict[str, str | Path | Model]:
    """What was given by its name: the key of a mapping, ``name=model``, the path itself, or a number.

    Raises TrimformerError where two have the same name.
    """
    if isinstance(models, Mapping):
        return dict(models)
    pairs = [_named(model, index) for index, model in enumerate(models, start=1)]
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TrimformerError(f"Two models are called {twice}: give names, as in new={twice}.")
    return dict(pairs)


def _named(model: str | Path | Model, index: int) -> tuple[str, str | Path | Model]:
    """``name=model`` has a name; ``shape:bert-base,attention=…`` and ``runs/lr=1/model`` have none."""
    if not isinstance(model, str | Path):
        return f"model {index}", model
    name, equals, rest = str(model).partition("=")
    if equals and not Path(model).exists() and not name.startswith(PREFIX) and "/" not in name:
        return name, rest
    return str(model), model


def _source(model: str | Path | Model) -> Path | Model:
    if isinstance(model, str | Path):
        if str(model).startswith(PREFIX) or not backends_of(Path(model)):
            return load(model)
        if not Path(model).is_file():
            raise TrimformerError(f"There is no file {model}: export the model first (trimformer export).")
        return Path(model)
    if model.training:
        raise TrimformerError("A model in training mode is not what is deployed: call model.eval() first.")
    return model


def backends_of(file: Path) -> list[str]:
    """The back-ends that run an exported file: by its name, else the plain one of its ending."""
    same = [name for name, known in FILE_BACKENDS.items() if known.file == whole(file).name]
    return same or [name for name, known in FILE_BACKENDS.items() if Path(known.file).suffix == file.suffix][:1]


def _of_file(name: str, file: Path, backends: Sequence[str], threads: int) -> Iterator[Variant]:
    """A file under those back-ends of its own that were asked for, else under the first of its own."""
    config, head = _described(file)
    own = backends_of(file)
    for backend in [b for b in own if b in backends] or own[:1]:
        yield _opened(Variant(name, backend, None, path=file, config=config, head=head), threads, {})


def _described(file: Path) -> tuple[TrimformerConfig | None, type[TrimformerWithHead] | None]:
    """The shape of an exported file, where config.json lies beside it."""
    if not (file.parent / "config.json").is_file():
        return None, None
    config = read_config(file.parent)
    architecture = (config.architectures or [""])[0]
    return config, next((cls for cls in TrimformerWithHead.__subclasses__() if cls.__name__ == architecture), None)


def _of_model(
    name: str,
    model: Model,
    backends: Iterable[str],
    threads: int,
    folder: Path,
    calibration: Encoded | None,
    quick: bool,
) -> Iterator[Variant]:
    modules: dict[Any, Any] = {}
    head = type(model) if isinstance(model, TrimformerWithHead) else None
    for backend in backends:
        variant = Variant(name, backend, None, config=model.config, head=head)
        try:
            path = _written(model, backend, folder, calibration, quick)
        except TrimformerError as error:
            yield dataclasses.replace(variant, skipped=str(error))
        except Exception as error:  # exporters and converters raise what they like: the other variants go on
            yield dataclasses.replace(variant, skipped=reason(error))
        else:
            yield _opened(dataclasses.replace(variant, path=path), threads, modules)


def _written(model: Model, backend: str, folder: Path, calibration: Encoded | None, quick: bool) -> Path:
    """The folder or file that the back-end opens, written at the first need."""
    if backend in STOCK:
        if not (folder / "stock").is_dir():
            with no_foreign_bars():
                to_huggingface(model).save_pretrained(folder / "stock")
        return folder / "stock"
    if backend in TORCH:
        if not (folder / "model").is_dir():
            model.save_pretrained(folder / "model")
        return folder / "model"
    return write(model, "onnx" if backend == "onnx-cuda" else backend, folder / "files", calibration, quick=quick)


def _opened(variant: Variant, threads: int, modules: dict[Any, Any]) -> Variant:
    assert variant.path is not None
    try:
        if variant.backend in FILE_BACKENDS:
            return variant.run_by(open_backend(variant.path, variant.backend, threads))
        run, executed = open_variant(variant.path, variant.backend, threads, modules)
        return dataclasses.replace(variant, run=run, executed=executed)
    except TrimformerError as error:
        return dataclasses.replace(variant, skipped=str(error))
    except Exception as error:  # the runtimes raise their own kinds
        return dataclasses.replace(variant, skipped=reason(error))


def reason(error: Exception) -> str:
    """Why something did not run, in one line."""
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__


def open_variant(
    path: Path, backend: str, threads: int, modules: dict[Any, Any]
) -> tuple[ForwardPass, LayerCount | None]:
    """The function to time, and what counts its layers, see :class:`Variant`.

    modules: PyTorch modules that are loaded already, for back-ends that share them.

    PyTorch runs on the GPU where there is one. Outputs come back to the host, which waits for the GPU to be done.
    """
    if backend in GPU_ONLY and not torch.cuda.is_available():
        raise TrimformerError(f"{backend} needs an NVIDIA GPU, and PyTorch finds none here.")
    if backend == "onnx-cuda":
        return _onnx_cuda(path), None
    if backend in FILE_BACKENDS:
        session = open_backend(path, backend, threads)
        return session.run, counts_of(session)
    form: Any = STOCK[backend] if backend in STOCK else TORCH[backend]
    if (path, form) not in modules:
        modules[path, form] = _stock(path, form) if backend in STOCK else load(path).to(form)
    device = fastest_device()
    module = modules[path, form].to(device)
    takes = inspect.signature(module.forward).parameters
    executed = None if backend in STOCK else executed_of(None, module.config)
    if backend in COMPILED:
        module = torch.compile(module, mode=COMPILED[backend])

    @torch.inference_mode()
    def run_module(inputs: dict[str, Tensor]) -> np.ndarray:
        output = module(**{name: tensor.to(device) for name, tensor in inputs.items() if name in takes})
        if executed is not None:
            executed.add(output.executed.tolist())
        values: np.ndarray = _values(output).float().cpu().numpy()
        return values

    return run_module, executed


def _stock(path: Path, attention: Any) -> Any:
    """The stock class that config.json names."""
    config = transformers.AutoConfig.from_pretrained(path)
    cls = getattr(transformers, config.architectures[0])
    with no_foreign_bars():
        return cls.from_pretrained(path, attn_implementation=attention, dtype=torch.float32).eval()


def _values(output: Any) -> Tensor:
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    values: Tensor = output.logits if "logits" in output else output.last_hidden_state
    return values


def _onnx_cuda(path: Path) -> ForwardPass:
    import onnxruntime

    if "CUDAExecutionProvider" not in _providers():  # it would quietly run on the CPU
        raise TrimformerError("onnx-cuda needs ONNX Runtime with its CUDA provider: pip install onnxruntime-gpu.")
    session = onnxruntime.InferenceSession(str(path), providers=["CUDAExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(inputs: dict[str, Tensor]) -> np.ndarray:
        given = {"token_type_ids": torch.zeros_like(inputs["input_ids"])} | inputs
        output: np.ndarray = session.run(None, {name: given[name].numpy() for name in names})[0]
        return output

    return run


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _providers() -> list[str]:
    import onnxruntime

    providers: list[str] = onnxruntime.get_available_providers()
    return providers
