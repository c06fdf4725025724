"""The command line, put together. Only typer is imported here: --help must be there at once."""

from __future__ import annotations

import io
import sys

import typer

from mailculator.cli import (
    completion,
    cutover,
    demo,
    drain,
    dynamodb,
    enqueue,
    pauses,
    queue,
    schema,
    send_test,
    service,
    status,
    steering,
)

application = typer.Typer(
    name="mailculator",
    help="A queue-based email pipeline: it takes mail in, sends it over SMTP and calls the producer back.",
    epilog="Settings come from the environment; `mailculator check` looks at all of them. "
    "Exit codes: 0 done, 1 failure, 2 usage, 3 a step of the cutover is not safe, 69 a dependency is down, "
    "78 settings or schema.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # each press of Tab would start Python: see `completion`
    context_settings={"help_option_names": ["-h", "--help"]},
)

application.command()(service.run)
application.command()(service.check)
application.command()(status.status)
application.command()(status.top)
application.add_typer(schema.application, name="schema")
application.command()(demo.demo)
application.command()(enqueue.enqueue)
application.add_typer(queue.application, name="queue")
for verb in steering.HELP:
    application.command(verb)(steering.command(verb))
application.command()(pauses.pause)
application.command()(pauses.resume)
application.command()(drain.drain)
application.command()(pauses.audit)
application.add_typer(dynamodb.application, name="dynamodb")
application.add_typer(cutover.application, name="cutover")
application.command("send-test")(send_test.send_test)
application.command()(service.healthcheck)
application.command()(completion.completion)
application.command()(service.version)


def main() -> None:
    """Run the command line, on any terminal: one that knows no UTF-8 gets escapes and no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    application(prog_name="mailculator")
