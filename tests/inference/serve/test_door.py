"""Requests for another host, without the token, or with an endless head are refused; a closed terminal drains."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.inference.serve.conftest import Stub, running
from trimformer.errors import TrimformerError
from trimformer.inference.serve.door import Door, allowed_hosts, read_token
from trimformer.inference.serve.server import HEAD, drain_on_hangup, make_server


def code(host: str, hosts: tuple[str, ...] = (), token: str | None = None, **headers: str) -> int:
    app = FastAPI()
    app.get("/")(lambda: "in")
    app.add_middleware(Door, hosts=hosts, token=token)
    return int(TestClient(app).get("/", headers={"Host": host} | headers).status_code)


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]:8000", "mine.example"])
def test_own_names_are_served(host: str) -> None:
    assert code(host, allowed_hosts("127.0.0.1", ["Mine.example"])) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", "", "[evil"])
def test_other_names_are_refused_at_loopback(host: str) -> None:
    assert code(host, allowed_hosts("localhost", [])) == 421


def test_elsewhere_any_host_is_served_unless_some_are_named() -> None:
    assert code("any.example", allowed_hosts("0.0.0.0", [])) == 200
    assert code("any.example", allowed_hosts("0.0.0.0", ["mine.example"])) == 421


def test_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    token = read_token(tmp_path / "token")
    assert code("a", token=token, Authorization="Bearer secret") == 200
    assert code("a", token=token, Authorization="Bearer other") == 401
    assert code("a", token=token) == 401


@pytest.mark.parametrize("content", ["", " \n", "two\nlines", "ä"])
def test_no_token_in_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, "utf-8")
    with pytest.raises(TrimformerError, match="holds no token"):
        read_token(tmp_path / "token")


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_an_endless_head_is_refused(stub: Stub, start: bytes) -> None:
    with running(stub) as client, socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
        raw.settimeout(20)
        raw.sendall(start + b"x" * (HEAD + 1))
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_closed_terminal_drains() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored
        server = make_server(FastAPI(), timeout=1)
        drain_on_hangup(server)
        signal.raise_signal(signal.SIGHUP)
        assert server.should_exit
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        drain_on_hangup(server)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
