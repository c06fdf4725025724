"""What a peer knows of our secrets and may quote back to us: taken out before its words go anywhere.

A relay that refuses a login may repeat the line it did not like; a web framework in debug mode shows the request's
headers. Both know these secrets anyway. The readers of our log, of the history and of callbacks do not.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

if TYPE_CHECKING:
    from mailculator.config import Settings

SHORTEST = 4
"""Characters; a shorter secret stands in too many words by chance, and protects nothing."""
TOKEN = 16
"""Characters from which on a header's value, or a part of a URL's path, is taken for a token whatever it is called."""
VALUE = 8
"""Characters from which on a value in a URL's query is one; a shorter one is masked with its whole query."""
STARS = "***"

_CONFIDENTIAL = re.compile(r"auth|cookie|credential|key|pass|secret|sign|token", re.IGNORECASE)


class Mask:
    """Replaces secrets in a text by stars, in each of the forms that they are likely to be quoted in.

    Arguments:
        secrets: as they are known to us; what is shorter than SHORTEST is left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        # The longest first: one may hold another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._longest = len(ordered[0]) if ordered else 0
        self._pattern = re.compile("|".join(map(re.escape, ordered)), re.IGNORECASE) if ordered else None

    def __call__(self, text: str, *, whole: bool = True) -> str:
        """The text without secrets.

        Arguments:
            whole: False where more may have followed: its end, which may be the beginning of a secret, goes as well.
        """
        if self._pattern is None:
            return text
        masked = self._pattern.sub(STARS, text)
        return masked if whole else masked[: max(0, len(masked) - self._longest)]


def _forms(secret: str) -> Iterator[str]:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode()
    plain = [secret, encoded, encoded.rstrip("=")]
    if secret.isprintable():
        plain += [quote(secret, safe=""), html.escape(secret), json.dumps(secret)[1:-1]]
    yield from plain


def relay_mask(user: str, password: str) -> Mask:
    """For a relay's replies: the password, alone and in the lines of AUTH PLAIN (RFC 4616) and AUTH LOGIN."""
    if len(password) < SHORTEST:
        return Mask()
    return Mask([password, f"\0{user}\0{password}", f"{user}\0{user}\0{password}"])


def callback_mask(settings: Settings) -> Mask:
    """For a callback's answers: what our requests hold that may be a token, and what signs them."""
    found = [settings.callback_secret.get_secret_value(), *settings.callback_secret.get_secret_value().split()]
    for name, value in settings.callback_headers.items():
        if _CONFIDENTIAL.search(name) or len(value) >= TOKEN:
            found += [value, *_credentials(value)]
    return Mask([*found, *_tokens(settings.callback_url)])


def _credentials(value: str) -> Iterator[str]:
    """What stands behind the scheme in a header (RFC 9110 section 11.4), and the password within Basic."""
    scheme, _, rest = value.strip().partition(" ")
    if rest:
        yield rest.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest, validate=True).decode()
        except (binascii.Error, ValueError):
            return
        yield pair
        yield pair.partition(":")[2]


def _tokens(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.query:
        yield parts.query
        yield from (value for _, value in parse_qsl(parts.query) if len(value) >= VALUE)
    for piece in parts.path.split("/"):
        if len(piece) >= TOKEN:
            yield piece
            yield unquote(piece)
