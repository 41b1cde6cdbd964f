"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real evaluation data: $TRIMFORMER_DATA, or `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TRIMFORMER_DATA") or default)
    if not (folder / "glue").is_dir():
        pytest.skip(f"no evaluation data in {folder}; set TRIMFORMER_DATA to its folder")
    return folder
