"""What /metrics shows, in the text format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAYERS = tuple(range(1, 25))
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of one server; ``model`` is the name of the path that was asked: predict or against."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trimformer_requests", "Requests by code of the answer", ["model", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "trimformer_request_seconds",
            "From the end of the request's head to the answer, answered requests",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "trimformer_batch_texts", "Texts in a batch of the model", ["model"], buckets=TEXTS, registry=self.registry
        )
        self.layers = Histogram(
            "trimformer_executed_layers",
            "Layers that a text went through, of models whose texts may leave early",
            ["model"],
            buckets=LAYERS,
            registry=self.registry,
        )
        self.queue = Gauge("trimformer_queue_texts", "Texts that wait", ["model"], registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
