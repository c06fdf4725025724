"""What may be given for a callback's URL and signing secret. Pure, and free of any HTTP library."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import socket
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Link-local by RFC 3927 and RFC 4291; the rest are where clouds answer for a machine's own identity: EC2 over IPv6,
# Azure's host, Oracle Cloud, Alibaba Cloud. (EC2, ECS and GCE over IPv4 are link-local.)
_REFUSED = tuple(
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "100.100.100.200/32",
    )
)
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_SECRET_PREFIX = "whsec_"  # noqa: S105  # it says that a secret follows


def check_url(url: str, require_https: bool) -> str | None:
    """What is wrong with a callback URL, or None.

    Loopback and private addresses are where a producer normally is; link-local and metadata addresses are not. A name
    is looked at again when it is resolved. The text never repeats the URL, which may hold a token.
    """
    if not url.isprintable() or " " in url:
        return "must not contain blanks or control characters"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if require_https and parts.scheme != "https":
        return "must begin with https://"
    if "@" in parts.netloc:
        return "must not contain a user or password"
    if not host or port == 0:
        return "must name a host, and no port 0"
    return _host_problem(host)


def _host_problem(host: str) -> str | None:
    address = _literal(host)
    if address is None and not _HOST.fullmatch(host):
        return "must name its host in plain ASCII (an international name in its xn-- form)"
    if address is not None and is_refused(address):
        return "must not point to a link-local or metadata address"
    return None


def is_refused(address: IPAddress) -> bool:
    """Whether no callback may ever go to this address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _REFUSED)


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The signing keys of a setting: one, or several separated by blanks while they are rotated; "" means none.

    A `whsec_` secret is base64, as Standard Webhooks writes it; any other is taken as it stands.

    Errors: ValueError, which does not repeat the secret.
    """
    return tuple(_parse_secret(word) for word in text.split())


def _parse_secret(word: str) -> bytes:
    if not word.startswith(_SECRET_PREFIX):
        return word.encode()
    try:
        key = base64.b64decode(word.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("what follows whsec_ must be base64")
    return key


def _literal(host: str) -> IPAddress | None:
    """The address a host is, if it is one, in any of the forms that the C library takes (`0xA9FEA9FE` too)."""
    bare = host.split("%", maxsplit=1)[0] if ":" in host else host.removesuffix(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None
