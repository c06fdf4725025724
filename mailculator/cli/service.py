"""run, check, healthcheck, version."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator import __version__
from mailculator.cli import output

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from mailculator.app import Service
    from mailculator.config import Settings

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

HEALTH_TIMEOUT = 4.0
"""Seconds; the image's HEALTHCHECK gives it five."""
COLLECT_EVERY = 20_000
"""Objects more than there were at the last look for rings of them."""
ANSWER_LIMIT = 16_384
"""Bytes of a health answer that are shown."""


def run() -> None:
    """Run the service until SIGTERM or SIGINT.

    It then drains: claims nothing more, and finishes what it has. A second signal ends it at once.
    """
    raise typer.Exit(output.run(_run(), loop_factory=fast_loop()))


def check(as_json: Json = False) -> None:
    """Look at settings, schema and every dependency.

    Nothing is sent. Exit code 69 when a dependency is down, 78 for what must be mended in settings or schema, 1 when a
    history has a gap.
    """
    from mailculator.cli import checks

    raise typer.Exit(output.run(checks.check(as_json=as_json)))


def healthcheck(
    url: Annotated[
        str, typer.Option(help="Default: /health on MAILCULATOR_HTTP_PORT of this machine.", metavar="URL")
    ] = "",
) -> None:
    """Ask a running service how it is, for container health checks.

    Exit code 0 while it can do its work.
    """
    import http.client
    import urllib.error
    import urllib.request

    target = url or _health_url()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(target, timeout=HEALTH_TIMEOUT) as response:
            print(output.clean(response.read(ANSWER_LIMIT).decode("utf-8", "replace")))
    except urllib.error.HTTPError as error:
        print(output.clean(error.read(ANSWER_LIMIT).decode("utf-8", "replace")))
        output.fail(f"{target}: {error.code} {error.reason}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        output.fail(f"{target}: {getattr(cause, 'strerror', None) or cause}")


def _health_url() -> str:
    """Straight from the environment: it is asked every few seconds, and the settings would cost half a second."""
    port = os.environ.get("MAILCULATOR_HTTP_PORT", "").strip() or "8080"
    if not port.isdecimal():
        output.fail(f"MAILCULATOR_HTTP_PORT: must be a port (got {port[:20]!r})", output.CONFIG)
    if int(port) == 0:
        output.fail(
            "MAILCULATOR_HTTP_PORT: is 0, so the service has taken a free port; it prints which, give it with --url",
            output.CONFIG,
        )
    return f"http://127.0.0.1:{port}/health"


def version(as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        output.document({"version": __version__})
    else:
        print(f"mailculator {__version__}")


def fast_loop() -> Callable[[], AbstractEventLoop] | None:
    """What makes a uvloop, where that is installed: a fifth less CPU an email. It changes nothing else."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run() -> int:
    import resource

    from mailculator import config, config_checks, log
    from mailculator.app import Service
    from mailculator.events import Lifetime

    settings = config.load()
    # Passwords and mail are in memory: a crash leaves none of it on a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log.configure(settings)
    observer = log.LogObserver(settings)
    unsafe = [str(problem) for problem in config_checks.warnings(settings)]
    for warning in [*unsafe, *config.unknown_variables()]:
        observer(Lifetime("warning", (("detail", warning),)))
    service = Service(settings, observer=observer)
    heed_signals(service, settings)
    spare_the_collector()
    code = await service.run()
    # Everything is closed. A thread that reads from a share that hangs would keep the interpreter from ending.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def spare_the_collector() -> None:
    """Have Python look for rings of objects less often, and never again among those of the start.

    An email leaves no ring behind (a test holds the pipelines to that), so that these looks, at every 700 objects that
    are not given back, find nothing, and cost a twentieth of an email's CPU.
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


def heed_signals(service: Service, settings: Settings) -> None:
    """Drain at the first SIGTERM or SIGINT, end at the second; at SIGHUP take secrets anew from their files."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    told = False

    def stop(number: int) -> None:
        nonlocal told
        if told:
            # Nothing may be tidied up now: whoever sends a second signal wants us gone. Leases see to the rest.
            os._exit(128 + number)
        told = True
        print(f"stopping: up to {settings.shutdown_grace:g} s for mail under way", file=sys.stderr)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(service.reload(), name="reload")
        reloads.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
