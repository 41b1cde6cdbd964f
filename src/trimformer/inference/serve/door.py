"""Who may ask: requests for another host, or without the token, are refused before anything reads them."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import TrimformerError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Door:
    """Lets a request through to ``app``.

    hosts: names that the header ``Host`` may have, without the port; none = any. A page elsewhere can lead its own
    name to this machine (DNS rebinding), but cannot send another ``Host``. token: what ``Authorization: Bearer`` has to
    hold; None = nothing.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}
        self.expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(Headers(scope=scope))):
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        if self.hosts and host_name(headers.get("host", "")) not in self.hosts:
            return JSONResponse({"error": "This host is not served: start the service with --allow-host for it."}, 421)
        given = headers.get("authorization", "").encode()
        if self.expected is not None and not hmac.compare_digest(given, self.expected):
            sentence = "The token is missing or wrong: send it as Authorization: Bearer TOKEN."
            return JSONResponse({"error": sentence}, 401, {"WWW-Authenticate": "Bearer"})
        return None


def host_name(header: str) -> str:
    """The name in a ``Host`` header in lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def allowed_hosts(host: str, named: Sequence[str]) -> tuple[str, ...]:
    """The hosts that are served at an address; none = any, where the address is no loopback and none are named."""
    if is_loopback(host):
        return (*LOOPBACK, host, *named)
    return tuple(named)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(file: Path) -> str:
    """The token in a file, without white space around it; raises TrimformerError where there is none."""
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrimformerError(
            f"The token cannot be read from {file} ({error}): correct the path or the file."
        ) from error
    if not token.isascii() or not token.isprintable() or not token:
        raise TrimformerError(f"The file {file} holds no token: write one line of ASCII characters into it.")
    return token
