"""What an installed package adds: found, or named as what cannot be loaded, at every look-up."""

import pytest

from trimformer import TrimformerError
from trimformer.registry import Registry


def test_a_package_that_cannot_be_loaded_is_named_each_time(tmp_path, monkeypatch):
    (tmp_path / "broken_parts.py").write_text("import nowhere")
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[trimformer.test_parts]\nbroken = broken_parts\n")
    monkeypatch.syspath_prepend(tmp_path)
    parts: Registry[object] = Registry("part", "trimformer.duration", "trimformer.test_parts")
    for _ in range(2):
        with pytest.raises(TrimformerError, match=r"The installed package broken_parts announces a part and cannot be"):
            parts.find("any")
