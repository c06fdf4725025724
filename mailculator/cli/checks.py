"""What `mailculator check` looks at, one finding after the other."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from mailculator import address_mask, callback_url, config, config_checks
from mailculator.cli import histories, output
from mailculator.cli.stores import place
from mailculator.config import Settings
from mailculator.errors import ConfigError, RelayUnavailable, StoreError
from mailculator.stores import registry
from mailculator.stores.base import Ping, SchemaState
from mailculator.transport.relay_settings import relay_settings
from mailculator.transport.smtp import SmtpRelay

Verdict = Literal["ok", "warn", "wrong", "down", "config"]

CALLBACK_TIMEOUT = 10.0
"""Seconds for reaching the callback's server."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Arguments:
        verdict: wrong = what a store holds contradicts itself, and the service works on; down = a dependency does not
            answer; config = this version must not start like this.
    """

    subject: str
    verdict: Verdict
    detail: str


async def check(*, as_json: bool) -> int:
    """Look at everything and report. Returns the exit code. Errors: ConfigError for bad settings, all at once."""
    settings = config.load()
    findings = [Finding("settings", "ok", "valid")]
    unsafe = [str(problem) for problem in config_checks.warnings(settings)]
    findings += [Finding("settings", "warn", text) for text in [*unsafe, *config.unknown_variables()]]
    # All at once: one that does not answer takes its time, and three would take it one after the other.
    async with asyncio.TaskGroup() as group:
        stores = [group.create_task(_store(settings, name)) for name in registry.enabled(settings)]
        journal = asyncio.to_thread(_journal, settings.journal_dir)
        peers = [group.create_task(one) for one in (_relay(settings), _callback(settings), journal)]
    findings += [found for task in stores for found in task.result()]
    findings += [task.result() for task in peers]
    if as_json:
        output.document([{"subject": one.subject, "verdict": one.verdict, "detail": one.detail} for one in findings])
    else:
        output.table(("verdict", "subject", "detail"), [(one.verdict, one.subject, one.detail) for one in findings])
    return exit_code(findings)


def exit_code(findings: list[Finding]) -> int:
    """78 before 69 before 1: what must be mended first comes first."""
    verdicts = {one.verdict for one in findings}
    if "config" in verdicts:
        return output.CONFIG
    if "down" in verdicts:
        return output.UNAVAILABLE
    return output.FAILURE if "wrong" in verdicts else output.OK


async def _store(settings: Settings, name: str) -> list[Finding]:
    backend, where = registry.backend(name), place(settings, name)
    try:
        state = await backend.open_schema(settings).state()
        if state.refusal:
            return [Finding(f"{name} schema", "config", f"{where}: {state.refusal}")]
        # As the service opens it, which may have more to refuse; but the embedded queue is locked by a running service.
        store = await backend.open_store(settings, service=name != "sqlite")
        try:
            ping = await store.ping()
            sampled = await histories.sample(store)
        finally:
            await store.close()
    except ConfigError as error:
        return [Finding(name, "config", str(error))]
    except StoreError as error:
        return [Finding(name, "down", f"{where}: {error}")]
    return [*_schema(name, state), judge_server(name, where, ping), judge_histories(name, sampled)]


def _schema(name: str, state: SchemaState) -> list[Finding]:
    if state.differences:
        return [Finding(f"{name} schema", "warn", f"differs: {difference}") for difference in state.differences]
    return [Finding(f"{name} schema", "ok", f"up to date ({', '.join(state.applied)})")]


def judge_server(name: str, where: str, ping: Ping) -> Finding:
    """What an answer of the server means; one of a kind that is not tested is named as such."""
    if not ping.writable:
        return Finding(name, "down", f"{where}: {ping.server} takes no writes")
    if not ping.tested:
        return Finding(name, "warn", f"{where}: {ping.server}, a kind of server that mailculator is not tested against")
    return Finding(name, "ok", f"{where}: {ping.server}, {ping.seconds * 1000:.0f} ms")


def judge_histories(name: str, sampled: histories.Sampled) -> Finding:
    """What a look at some histories came to; of many that are wrong the first are named."""
    subject, count = f"{name} histories", sampled.looked_at
    if not sampled.wrong:
        return Finding(subject, "ok", f"{count} emails looked at, and their histories are whole")
    named = [f"{email_id} {what}" for email_id, what in list(sampled.wrong.items())[: histories.NAMED]]
    more = f" and {len(sampled.wrong) - len(named)} more" if len(sampled.wrong) > len(named) else ""
    return Finding(subject, "wrong", f"{len(sampled.wrong)} of {count} emails looked at: {'; '.join(named)}{more}")


async def _relay(settings: Settings) -> Finding:
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    relay = SmtpRelay(relay_settings(settings), settings.timing)
    try:
        await relay.ping()
    except RelayUnavailable as error:
        return Finding("smtp", "down", address_mask.mask(f"{where}: {error}"))
    finally:
        await relay.close()
    login = "with AUTH" if settings.smtp_user else "without AUTH"
    if settings.smtp_allow_insecure_tls and settings.smtp_tls != "none":
        return Finding("smtp", "warn", f"{where}: answers, but SMTP_ALLOW_INSECURE_TLS takes any certificate")
    return Finding("smtp", "ok", f"{where}, TLS {settings.smtp_tls}, {login}")


async def _callback(settings: Settings) -> Finding:
    """Reach the server, TLS included. Nothing is POSTed: no producer expects a callback that means nothing."""
    url = urlsplit(settings.callback_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    where = f"{url.hostname}:{port}"
    try:
        async with asyncio.timeout(CALLBACK_TIMEOUT * settings.time_scale):
            await _reach(url.hostname or "", port, ca_file=settings.callback_ca_file, secure=url.scheme == "https")
    except TimeoutError:
        return Finding("callback", "down", f"{where}: no answer within {CALLBACK_TIMEOUT * settings.time_scale:g} s")
    except ssl.SSLCertVerificationError as error:
        return Finding("callback", "down", f"{where}: its certificate: {error.verify_message}")
    except OSError as error:
        return Finding("callback", "down", f"{where}: {error.strerror or error}")
    return Finding("callback", "ok", f"{where} can be reached, {url.scheme}; nothing was posted")


def _journal(directory: Path) -> Finding:
    """Write a file where the journal is kept, and take it away again."""
    if not directory.exists():
        if directory.is_absolute() and not directory.parent.is_dir():
            return Finding("journal", "config", f"MAILCULATOR_JOURNAL_DIR: {directory.parent} is not there")
        return Finding("journal", "ok", f"{directory} will be made")
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"mailculator check")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Finding("journal", "down", f"{directory}: {error.strerror or error}")
    return Finding("journal", "ok", f"{directory} takes writes")


async def _reach(host: str, port: int, *, ca_file: Path | None, secure: bool) -> None:
    """Connect to the first address that answers, of those the service itself would take. Errors: OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    allowed = [one for one in addresses if not callback_url.is_refused(ipaddress.ip_address(one.split("%")[0]))]
    if not allowed:
        raise OSError("the name leads to a link-local or metadata address, where no callback goes")
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file) if secure else None
    failure: OSError | None = None
    for address in allowed:
        try:
            _, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=host if secure else None
            )
        except OSError as error:
            failure = error
        else:
            writer.transport.abort()
            return
    assert failure is not None  # noqa: S101  # no address answered, so each failed
    raise failure
