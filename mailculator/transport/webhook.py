"""The callback URL over HTTP: one POST, one answer, everything about it bounded."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mailculator import __version__
from mailculator.callback_url import is_refused
from mailculator.errors import CallbackUnavailable
from mailculator.patience import TimeLimit
from mailculator.transport.base import Answer
from mailculator.transport.masking import Mask, callback_mask
from mailculator.transport.replies import describe, one_line

if TYPE_CHECKING:
    from mailculator.config import Settings

BODY_LIMIT = 4096
"""Octets of an answer's body that are read; the connection is given up where there are more."""

LONGEST_RETRY_AFTER = 3600.0
"""Seconds; whoever asks for longer is asked again after an hour."""

KEEP_ALIVE = 4.0
"""Seconds an unused connection is kept: less than the 5 s after which common servers (Node.js) close theirs, since a
POST that meets a closing connection is a failed try."""


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """What the client needs of the settings.

    Arguments:
        url: checked by `callback_url.check_url`.
        timeout: seconds for a whole try: connecting, TLS, the answer and what is read of its body.
        connections: open at once, at the most.
        ca_file: trusted instead of the system's; None = the system's.
        mask: takes our secrets out of what comes back.
    """

    url: str
    timeout: float = 15.0
    connections: int = 50
    ca_file: Path | None = None
    mask: Mask = field(default=Mask(), repr=False, compare=False)


def callback_settings(settings: Settings) -> CallbackSettings:
    """The callback client's part of the service's settings."""
    return CallbackSettings(
        url=settings.callback_url,
        timeout=settings.callback_timeout * settings.time_scale,
        connections=settings.callback_connections,
        ca_file=settings.callback_ca_file,
        mask=callback_mask(settings),
    )


class WebhookClient:
    """A CallbackClient over HTTP. Redirects, cookies, proxies of the environment and compression are all off.

    Arguments:
        wall_clock: epoch seconds; a Retry-After date is compared with it.
    """

    def __init__(self, settings: CallbackSettings, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._limit = TimeLimit(settings.timeout)
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """As CallbackClient.post. Once a status has come it counts, however the body ends."""
        try:
            session = self._session or await self._open()
            with self._limit() as span:
                response = await session.post(self._settings.url, data=body, headers=headers, allow_redirects=False)
            if response.content.at_eof():  # as of most answers: nothing is to be read or given back
                return self._answer(response, b"")
            async with response:
                return self._answer(response, await _read(response, span.due))
        except TimeoutError as cause:
            raise CallbackUnavailable("callback", f"no answer within {self._settings.timeout:g} s") from cause
        except (aiohttp.ClientError, OSError, ValueError) as cause:
            raise CallbackUnavailable("callback", self._describe(cause)) from cause

    async def close(self) -> None:
        """As CallbackClient.close."""
        if self._session is not None:
            await self._session.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                # Reading the system's authorities takes 100 ms of CPU, and redirects never lead from http to https.
                secure = self._settings.url.lower().startswith("https:")
                context = await asyncio.to_thread(_tls_context, self._settings.ca_file) if secure else True
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        limit=self._settings.connections,
                        ssl=context,
                        resolver=_GuardedResolver(),
                        keepalive_timeout=KEEP_ALIVE,
                    ),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(total=None),  # `post` has one timer for all
                    trust_env=False,
                    auto_decompress=False,
                    headers={"User-Agent": f"mailculator/{__version__}", "Accept-Encoding": "identity"},
                )
            return self._session

    def _answer(self, response: aiohttp.ClientResponse, octets: bytes) -> Answer:
        return Answer(response.status, self._retry_after(response), self._text(octets))

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        value = response.headers.get("Retry-After")
        return None if value is None else parse_retry_after(value, self._wall_clock())

    def _text(self, octets: bytes) -> str:
        if not octets:
            return ""
        return one_line(self._settings.mask(octets.decode("utf-8", "replace"), whole=len(octets) < BODY_LIMIT))

    def _describe(self, cause: Exception) -> str:
        """The failure in words; not aiohttp's own where they quote the URL, which may hold a token."""
        match cause:
            case aiohttp.ClientConnectorCertificateError():
                return describe(cause.certificate_error)
            case aiohttp.ClientConnectorError():
                return describe(cause.os_error)
            case aiohttp.ServerDisconnectedError():
                return "connection closed without an answer"
            case aiohttp.ClientResponseError() | aiohttp.InvalidURL() | ValueError():
                return f"answer not understood ({type(cause).__name__})"
            case _:
                return describe(cause)


async def _read(response: aiohttp.ClientResponse, due: float) -> bytes:
    """The first octets of the body. What is longer, late or broken costs its connection, and nothing else.

    Arguments:
        due: when it is late, by the event loop's clock.
    """
    text = b""
    try:
        async with asyncio.timeout_at(due):
            while len(text) < BODY_LIMIT and (piece := await response.content.read(BODY_LIMIT - len(text))):
                text += piece
        if not response.content.at_eof():
            response.close()
    except (aiohttp.ClientError, OSError):
        response.close()
    return text


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 section 10.2.3: seconds or a date), bounded; None = it does not.

    Arguments:
        now: epoch seconds.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,20}", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


class _GuardedResolver(AbstractResolver):
    """The system's resolver without link-local and metadata addresses, which no name may lead a callback to."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not is_refused(ipaddress.ip_address(one["host"].split("%")[0]))]
        if not allowed:
            raise OSError("the name leads to a link-local or metadata address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
