"""What a fresh process (tests/fresh.py) starts with: the libraries, and few passes where something is timed."""

import torch
import transformers.models.auto

import trimformer
from trimformer.measure.bench import latency

latency.MAX_ROUNDS, latency.TURN_SECONDS = 2, 0.0

__all__ = ["torch", "transformers", "trimformer"]
