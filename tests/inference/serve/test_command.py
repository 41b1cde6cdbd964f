"""``trimformer serve`` as a command."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_stock_bert


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = sentence(trimformer("serve", tmp_path, "--port", port))
    assert said == (
        f"The service cannot listen at 127.0.0.1, port {port} (address already in use): "
        "choose another --host or --port."
    )


def test_a_host_that_is_no_name(tmp_path: Path) -> None:
    said = sentence(trimformer("serve", tmp_path, "--host", "a..b"))
    assert said.startswith("The service cannot listen at a..b, port 8000 (")


def test_a_model_without_a_head(tmp_path: Path) -> None:
    folder = write_stock_bert(tmp_path / "body")
    assert "has no task head" in sentence(trimformer("serve", folder, "--port", 0))


@pytest.mark.slow
def test_a_signal_ends_it_well(tmp_path: Path) -> None:
    folder = write_stock_bert(tmp_path / "[red] model", ["neg", "pos"])
    arguments = [sys.executable, "-m", "trimformer", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert str(folder) in line
        found = re.search(r"http://\S+", line)
        assert found
        answer = httpx2.post(f"{found[0]}/predict", json={"texts": ["good film"]}, timeout=60)
        assert answer.json()["answers"][0]["label"] in ("neg", "pos")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
