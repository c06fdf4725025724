"""What one value of one setting may look like. Each function returns the value or says what would be right.

The messages are read by operators beside the variable's name; they never quote the value, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import json
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from mailculator import address
from mailculator.errors import PayloadError

_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_HOST_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.IGNORECASE | re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""RFC 9110 section 5.6.2."""
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"(?![0-9]+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
"""What becomes a label of the service's host name."""

OUR_HEADERS = frozenset(
    {"content-type", "content-length", "host", "connection", "transfer-encoding", "user-agent", "expect"}
)
"""What the callback client sets itself; so are all that begin with `webhook-`."""


def flag(value: object) -> object:
    """A boolean, in the words that people use for one and in no others."""
    if not isinstance(value, str):
        return value
    if value.lower() not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[value.lower()]


def tls_mode(value: object) -> object:
    """MYSQL_TLS: a boolean's words, or skip-verify."""
    if not isinstance(value, str):
        return value
    word = value.lower()
    if word == "skip-verify":
        return word
    if word not in _FLAGS:
        raise ValueError("must be false, true or skip-verify")
    return str(_FLAGS[word]).lower()


def lower(value: object) -> object:
    """A word whose case does not matter."""
    return value.lower() if isinstance(value, str) else value


def is_host_name(text: str) -> bool:
    """Whether it is a host name as resolvers take it; underscores are met in those of containers, so they pass."""
    return len(text) <= 254 and all(_HOST_LABEL.fullmatch(label) for label in text.removesuffix(".").split("."))


def envelope_sender(value: str) -> str:
    """One bare address, its domain in A-label form, or nothing."""
    if not value:
        return value
    try:
        parsed = address.parse(value, "SMTP_FROM")
    except PayloadError:
        parsed = None
    if parsed is None or "<" in value:
        raise ValueError("must be one bare address, like bounces@example.com")
    return parsed.addr_spec


def domain_of(sender: str) -> str:
    """The domain of an envelope sender."""
    return sender.rpartition("@")[2]


def message_id_domain(value: str) -> str:
    """A domain in A-label form, or nothing."""
    return _domain(value, "must be a full domain name") if value else value


def helo_name(value: str) -> str:
    """A host name or an address literal (RFC 5321 section 4.1.1.1), or nothing."""
    if not value:
        return value
    if value.startswith("[") and value.endswith("]"):
        try:
            ipaddress.ip_address(value[1:-1].removeprefix("IPv6:"))
        except ValueError:
            raise ValueError("must be a host name, or an address in square brackets") from None
    elif not is_host_name(value):
        raise ValueError("must be a host name, or an address in square brackets")
    return value


def replica_name(value: str) -> str:
    """A name that fits into a row, a history note and a log line."""
    if not value or len(value) > 100 or not value.isprintable():
        raise ValueError("must be 1 to 100 printable characters")
    return value


def token(value: SecretStr) -> SecretStr:
    """What a client can send in a header; empty = none."""
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("must be printable ASCII characters without blanks")
    return value


def table_name(value: str) -> str:
    """A DynamoDB table's name (Amazon DynamoDB Developer Guide, "Naming rules"), or nothing."""
    if value and not _TABLE.fullmatch(value):
        raise ValueError("must be 3 to 255 characters of A-Z, a-z, 0-9, _, - and .")
    return value


def is_region(text: str) -> bool:
    """Whether it can be a region's name; emulators take any (`local`)."""
    return _REGION.fullmatch(text) is not None


def is_endpoint(url: str) -> bool:
    """Whether it is a service's address: scheme, host and port, and nothing that a request would have to keep apart."""
    try:
        parts = urlsplit(url)
        named = is_host_name(parts.hostname or "") or bool(ipaddress.ip_address(parts.hostname or ""))
        port = parts.port
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or parts.username or parts.password) and parts.path in {"", "/"}
    return parts.scheme in {"http", "https"} and named and port != 0 and bare


def domains(value: object) -> object:
    """Domains separated by commas, in A-label form."""
    if not isinstance(value, str):
        return value
    message = "must be full domain names separated by commas"
    return tuple(_domain(part.strip(), message) for part in value.split(",") if part.strip())


def _domain(text: str, message: str) -> str:
    try:
        return address.parse_domain(text, "")
    except PayloadError:
        raise ValueError(message) from None


def header_object(value: object) -> object:
    """A JSON object; a name that is there twice is a mistake, not a choice."""
    if not isinstance(value, str):
        return value
    try:
        pairs = json.loads(value, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise ValueError('must be a JSON object of strings, like {"X-Source": "mail"}') from None
    strings = isinstance(pairs, list) and all(
        isinstance(pair, tuple) and all(isinstance(part, str) for part in pair) for pair in pairs
    )
    # Without pairs there is no telling an object from a list but by its bracket.
    if not strings or not value.lstrip().startswith("{"):
        raise ValueError('must be a JSON object of strings, like {"X-Source": "mail"}')
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise ValueError("names a header twice")
    return dict(pairs)


def headers(value: dict[str, str]) -> dict[str, str]:
    """Header names and values that cannot break the request (RFC 9110 sections 5.1 and 5.5)."""
    for name, text in value.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("has a header name that is no token of RFC 9110 (letters, digits, hyphens)")
        if name.lower() in OUR_HEADERS or name.lower().startswith("webhook-"):
            raise ValueError(f"must not set {name}: the callback client does")
        if len(text) > 4096 or not all(" " <= ch <= "~" for ch in text):
            raise ValueError(f"must give {name} a value of printable ASCII characters")
    return value
