"""Ports: how the service's servers come to listen on theirs, and what is said where they cannot."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import TypeVar

from mailculator.errors import ConfigError, Problem

T = TypeVar("T")

BACKLOG = 64
"""Connections that the system holds until they are taken."""
FREE_TRIES = 20
"""Ports that are tried where any will do: of two families, the other one may have given it away."""
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def everywhere(port: int, *, variable: str, host: str = "") -> socket.socket:
    """Listen on all addresses, IPv4 and IPv6.

    Arguments:
        port: 0 takes a free one.
        variable: the setting that the port stands in.
        host: one address instead of all.

    Errors: ConfigError when the port cannot be listened on.
    """
    return _told(variable, port, lambda: _everywhere(host, port))


def this_machine(port: int, *, variable: str) -> list[socket.socket]:
    """Listen where this machine alone can reach us: on 127.0.0.1 and, where there is IPv6, under ::1.

    Who else listens under one of the two would get what is meant for us, so both must be had.

    Arguments and errors: as for `everywhere`.
    """
    return _told(variable, port, lambda: _this_machine(port))


def _told(variable: str, port: int, listen: Callable[[], T]) -> T:
    try:
        return listen()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError([Problem(variable, f"cannot listen on port {port}: {why}")]) from error


def _everywhere(host: str, port: int) -> socket.socket:
    # One socket for both families: two would not agree on a port when the system chooses it.
    if host or not socket.has_dualstack_ipv6():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        # IPv6 is compiled in and switched off, as in many containers.
        return socket.create_server((host, port), family=socket.AF_INET)


def _this_machine(port: int) -> list[socket.socket]:
    for tries_left in reversed(range(1 if port else FREE_TRIES)):
        first = socket.create_server(("127.0.0.1", port), family=socket.AF_INET)
        try:
            return [first, socket.create_server(("::1", first.getsockname()[1]), family=socket.AF_INET6)]
        except OSError as error:
            if error.errno in _NO_IPV6:
                return [first]
            first.close()
            if not tries_left or error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("the last try returns or raises")
