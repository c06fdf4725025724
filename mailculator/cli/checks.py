"""What `mailculator check` looks at, one finding after the other."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mailculator import config, config_checks, log
from mailculator.cli import output
from mailculator.config import Settings
from mailculator.errors import RelayUnavailable, StoreError
from mailculator.stores import registry
from mailculator.transport.relay_settings import relay_settings
from mailculator.transport.smtp import SmtpRelay

Verdict = Literal["ok", "warn", "down", "config"]

CALLBACK_TIMEOUT = 10.0
"""Seconds for reaching the callback's server."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Arguments:
        verdict: down = a dependency does not answer; config = this version must not start like this.
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
    for name in registry.enabled(settings):
        findings += await _store(settings, name)
    findings.append(await _relay(settings))
    findings.append(await _callback(settings))
    if as_json:
        output.document([{"subject": one.subject, "verdict": one.verdict, "detail": one.detail} for one in findings])
    else:
        output.table(("verdict", "subject", "detail"), [(one.verdict, one.subject, one.detail) for one in findings])
    return exit_code(findings)


def exit_code(findings: list[Finding]) -> int:
    """78 before 69: settings that must be mended first come first."""
    verdicts = {one.verdict for one in findings}
    if "config" in verdicts:
        return output.CONFIG
    return output.UNAVAILABLE if "down" in verdicts else output.OK


async def _store(settings: Settings, name: str) -> list[Finding]:
    backend = registry.backend(name)
    try:
        state = await backend.open_schema(settings).state()
        if state.refusal:
            return [Finding(f"{name} schema", "config", state.refusal)]
        found = [Finding(f"{name} schema", "warn", f"differs: {difference}") for difference in state.differences]
        store = await backend.open_store(settings, service=False)
        try:
            ping = await store.ping()
        finally:
            await store.close()
    except StoreError as error:
        return [Finding(name, "down", str(error))]
    found = found or [Finding(f"{name} schema", "ok", f"{len(state.applied)} applied, up to date")]
    if not ping.writable:
        return [*found, Finding(name, "down", f"{ping.server} takes no writes")]
    if not ping.tested:
        return [*found, Finding(name, "warn", f"{ping.server}: mailculator is not tested against this kind of server")]
    return [*found, Finding(name, "ok", f"{ping.server}, {ping.seconds * 1000:.0f} ms")]


async def _relay(settings: Settings) -> Finding:
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    relay = SmtpRelay(relay_settings(settings), settings.timing)
    try:
        await relay.ping()
    except RelayUnavailable as error:
        return Finding("smtp", "down", log.mask(f"{where}: {error}"))
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
        context = ssl.create_default_context(cafile=settings.callback_ca_file) if url.scheme == "https" else None
        async with asyncio.timeout(CALLBACK_TIMEOUT):
            _, writer = await asyncio.open_connection(url.hostname, port, ssl=context)
        writer.close()
    except TimeoutError:
        return Finding("callback", "down", f"{where}: no answer within {CALLBACK_TIMEOUT:g} s")
    except OSError as error:
        return Finding("callback", "down", f"{where}: {error.strerror or error}")
    return Finding("callback", "ok", f"{where} can be reached")
