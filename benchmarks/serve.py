"""``trimformer serve`` under load beside the offline predictor, texts per second: ``python benchmarks/serve.py``.

The models: BERT-base's shape with random weights and means in layers 2 to 11, and the demo encoder with means in
three layers; both with the demo encoder's tokenizer and a random head, as ONNX. Answers mean nothing then, times do.
Or --model, a folder of yours. Short generated reviews (5 to 15 words) are labelled by ``Predictor.predict``, 4096 at
a time, and by the service with one worker and with two, asked by 64 clients at the same time over connections that
stay open, once with one text in a request and once with 16. The offline predictor takes its turn before, between and
after. Service and clients are processes of their own on the same cores, so what the clients cost is missing to the
service: their share of the processor time is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

import trimformer
from trimformer.deploy.predictor import Predictor
from trimformer.encoder.checkpoints.load import load_tokenizer, with_labels
from trimformer.encoder.model.heads import TrimformerForSequenceClassification, TrimformerWithHead
from trimformer.files import atomic_file
from trimformer.hardware import hardware
from trimformer.tasks.sources.sentiment import generate

RESULTS = Path(__file__).parent / "results" / "serve.json"
TEXTS = 4096
OFFLINE_SECONDS = 10
MODELS = {
    "bert-base, mean 2-11": ("shape:bert-base", range(2, 12)),
    "demo, mean 0, 4, 5": ("demo", (0, 4, 5)),  # as the layerwise search chose on MRPC and STS-B (docs/results.md)
}


def make_model(name: str, folder: Path) -> Path:
    source, removed = MODELS[name]
    given = trimformer.load(source)
    torch.manual_seed(0)
    model = TrimformerForSequenceClassification(with_labels(given.config, ["neg", "pos"], "classification")).eval()
    body = given.encoder if isinstance(given, TrimformerWithHead) else given
    model.encoder.load_state_dict(body.state_dict())
    trimmed = trimformer.trim(model, attention=dict.fromkeys(removed, "mean"))
    trimformer.export(trimmed, folder, tokenizer=load_tokenizer("demo"))
    return folder


def offline(predictor: Predictor, texts: Sequence[str]) -> dict[str, float]:
    start, before, rounds = time.perf_counter(), time.process_time(), 0
    while (seconds := time.perf_counter() - start) < OFFLINE_SECONDS:
        predictor.predict(texts)
        rounds += 1
    count = rounds * len(texts)
    return {"texts_per_s": count / seconds, "cpu_ms_per_text": (time.process_time() - before) * 1e3 / count}


class Service:
    """A running ``trimformer serve``."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "trimformer", "serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return
        raise SystemExit("the service did not start")

    def seconds(self) -> float:
        """Processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


async def ask(url: str, clients: int, bodies: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """Every client sends one body after the other; the times of those answered (200) within the seconds, in ms."""
    import aiohttp

    times: list[float] = []
    codes: Counter[str] = Counter()
    turn = itertools.cycle(bodies)
    headers = {"Content-Type": "application/json"}

    async def client(session: aiohttp.ClientSession, end: float) -> None:
        while (start := time.perf_counter()) < end:
            try:
                async with session.post(url, data=next(turn), headers=headers) as response:
                    await response.read()
                    codes[str(response.status)] += 1
            except aiohttp.ClientError as error:
                codes[type(error).__name__] += 1
                continue
            if response.status == 200 and (now := time.perf_counter()) < end:
                times.append((now - start) * 1e3)

    before = time.process_time()
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector) as session:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(client(session, end) for _ in range(clients)))
    return {"times": times, "codes": codes, "cpu": time.process_time() - before}


def run_clients(file: Path, url: str, clients: int, per_request: int, seconds: float) -> None:
    """The other process: prints what :func:`ask` found as JSON."""
    import uvloop

    texts = json.loads(file.read_text("utf-8"))
    parts = [texts[start : start + per_request] for start in range(0, len(texts), per_request)]
    bodies = [json.dumps({"texts": part}).encode() for part in parts]
    print(json.dumps(uvloop.run(ask(f"{url}/predict", clients, bodies, seconds))))


def load_test(service: Service, file: Path, clients: int, per_request: int, seconds: float) -> dict[str, Any]:
    arguments = ["--asked", str(file), service.url, str(clients), str(per_request), str(seconds)]
    before = service.seconds()
    found = json.loads(subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True).stdout)
    served = service.seconds() - before
    times, texts = found["times"], found["codes"].get("200", 0) * per_request
    if len(times) < 2:
        raise SystemExit(f"The service answered {len(times)} requests in {seconds:g} s: give it more --seconds.")
    percentiles = statistics.quantiles(times, n=100)
    return {
        "clients": clients,
        "texts_per_request": per_request,
        "seconds": seconds,
        "codes": found["codes"],
        "errors": sum(count for code, count in found["codes"].items() if code != "200"),
        "requests_per_s": len(times) / seconds,
        "texts_per_s": len(times) * per_request / seconds,
        "median_ms": percentiles[49],
        "p95_ms": percentiles[94],
        "p99_ms": percentiles[98],
        "cpu_ms_per_text": {"service": served * 1e3 / texts, "clients": found["cpu"] * 1e3 / texts},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a model, instead of those above")
    parser.add_argument("--backend", default="onnx-int8")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="batches at a time")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 16], help="texts in a request")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-batch", type=int, default=4096)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--asked", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.asked:
        file, url, clients, per_request, seconds = given.asked
        run_clients(Path(file), url, int(clients), int(per_request), float(seconds))
        return
    found: dict[str, Any] = {"hardware": hardware(), "command": "python benchmarks/serve.py", "models": {}}
    with tempfile.TemporaryDirectory() as work:
        folders = (
            {str(given.model): given.model}
            if given.model
            else {name: make_model(name, Path(work) / f"model{index}") for index, name in enumerate(MODELS)}
        )
        for name, folder in folders.items():
            found["models"][name] = measured(folder, given, Path(work))
    with atomic_file(given.json) as out:
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measured(model: Path, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Offline and service take turns on one model."""
    texts = [text for text in generate(TEXTS * 3, seed=1).texts if 5 <= len(text.split()) <= 15][:TEXTS]
    file = work / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    predictor = Predictor(model, given.backend, given.threads)
    predictor.predict(texts)
    options = [] if given.threads is None else ["--threads", str(given.threads)]
    alone, rows = [offline(predictor, texts)], []
    for workers in given.workers:
        limits = ["--max-batch", str(given.max_batch), "--workers", str(workers)]
        with Service([str(model), "--backend", given.backend, *limits, *options]) as service:
            for per_request in given.texts:
                row = {"workers": workers} | load_test(service, file, given.clients, per_request, given.seconds)
                alone.append(offline(predictor, texts))
                row["share_of_offline"] = row["texts_per_s"] / statistics.mean(one["texts_per_s"] for one in alone[-2:])
                rows.append(row)
                print(json.dumps(row), flush=True)
    return {"backend": given.backend, "max_batch": given.max_batch, "offline": alone, "load": rows}


if __name__ == "__main__":
    main()
