"""One email address, by a grammar of our own.

Libraries accept more than one address, comments or encoded words, and have been led to another recipient than the one
a person reads (CVE-2023-27043, CVE-2025-13033). So this is strict: one mailbox, bare or as `Name <address>`, a
dot-atom before the `@` (RFC 5322 section 3.4.1; beyond ASCII by RFC 6531), a full domain name after it.
No error quotes the address: reasons end up in logs.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import idna

from mailculator.errors import PayloadError
from mailculator.values import value

TEXT_LIMIT = 1000
"""Characters of a whole address field, display name included."""
NAME_LIMIT = 600
"""Octets of a display name: one encoded word of it fits a line of 998 octets (RFC 5322 section 2.1.1), always."""
LOCAL_LIMIT = 64
"""Octets before the `@`. Source: RFC 5321 section 4.5.3.1.1."""
ADDRESS_LIMIT = 254
"""Octets of local@domain. Source: RFC 5321 section 4.5.3.1.3, less the angle brackets."""

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What no header may hold: C0, DEL and C1 (so CR, LF, VT, FF, NEL and tab), and Unicode's line separators."""

# atext of RFC 5322 section 3.2.3 and all beyond ASCII, told by what it is not: a class that reaches U+10FFFF takes `re`
# a thirtieth of a second to compile, at every start.
_ATEXT = r"""[^\x00-\x20"(),.:;<>@\[\\\]\x7f]"""
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
# Blanks, and dots as in `Rossi S.r.l.`: RFC 5322 section 4.1, obs-phrase.
_PHRASE = re.compile(r"""[^\x00-\x1f"(),:;<>@\[\\\]\x7f]*""")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMED = re.compile(rf"(?:(?P<quoted>{_QUOTED.pattern}) *|(?P<plain>[^\"<>]*))<(?P<spec>[^<>]*)>")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?")
# What nearly every address is. It only spares the way through the rules below, which accept all of it unchanged but for
# the domain's case: ASCII, no encoded word (so no `=` or `?` at all), and at most 64 + 1 + 2 * 63 + 60 = 251 octets.
_COMMON_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,60}[A-Za-z0-9])?"
_COMMON = re.compile(
    r"(?=[^@]{1,64}@)([A-Za-z0-9!#$%&'*+/^_`{|}~\-]+(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~\-]+)*)"
    rf"@((?:{_COMMON_LABEL}\.){{1,2}}[A-Za-z]{{2,60}})"
)


@value
class Address:
    """One mailbox (RFC 5322 section 3.4), taken apart.

    Arguments:
        name: the display name as text, "" when there is none.
        local: the local part as it goes into RCPT TO; a dot-atom, never quoted.
        domain: lower case, in A-label form.
    """

    name: str
    local: str
    domain: str

    @property
    def addr_spec(self) -> str:
        """local@domain."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether its local part cannot be sent without SMTPUTF8 (RFC 6531)."""
        return not self.local.isascii()


@lru_cache(maxsize=512)  # a producer's From and Reply-To are few, and what intake has read the sender reads again
def parse(text: str, field: str) -> Address:
    """Read one address, bare or as `Name <address>`.

    A display name is literal text: an encoded word in it is not decoded. One of blanks alone counts as none.

    Arguments:
        field: where the text comes from, for the reason.
    Errors: PayloadError with field_required, size or one of the address_* codes.
    """
    common = _COMMON.fullmatch(text)
    if common is not None:
        return Address("", common[1], common[2].lower())
    if len(text) > TEXT_LIMIT:
        raise PayloadError("size", f"{field}: longer than {TEXT_LIMIT} characters")
    if CONTROLS.search(text):
        raise PayloadError("address_control", f"{field}: holds a control character")
    text = text.strip(" ")
    if not text:
        raise PayloadError("field_required", f"{field}: is empty")
    _refuse_structure(text, field)
    if not text.endswith(">"):
        return _parse_spec(text, "", field)
    named = _NAMED.fullmatch(text)
    if named is None:
        raise PayloadError("address_syntax", f"{field}: expected one address, or one as: Name <address>")
    return _parse_spec(named["spec"], _display_name(named["quoted"], named["plain"], field), field)


def parse_domain(text: str, field: str) -> str:
    """A full domain name in lower case and A-label form (UTS 46, then IDNA 2008: RFC 5891).

    Errors: PayloadError address_syntax.
    """
    domain = text.lower()
    if not text.isascii():
        try:
            domain = idna.encode(text, uts46=True).decode("ascii")
        except UnicodeError as error:
            raise PayloadError("address_syntax", f"{field}: the domain is no valid international name") from error
    labels = domain.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise PayloadError("address_syntax", f"{field}: the domain is not well formed")
    if len(labels) < 2 or labels[-1].isdigit():
        raise PayloadError("address_syntax", f"{field}: the domain is not a full domain name")
    return domain


def _refuse_structure(text: str, field: str) -> None:
    """Refuse what is more, or other, than one plain mailbox: each with the reason that helps its author most."""
    bare = _QUOTED.sub("", text)
    if re.search(r'["()\[\]\\]', bare):
        raise PayloadError(
            "address_syntax",
            f"{field}: comments, literals and stray quotes, brackets or backslashes are refused",
        )
    if ":" in bare:
        raise PayloadError("address_group", f"{field}: one address is expected, not a group")
    if "," in bare or ";" in bare:
        raise PayloadError("address_multiple", f"{field}: one address is expected (a comma in a name needs quotes)")


def _display_name(quoted: str | None, plain: str | None, field: str) -> str:
    if quoted is not None:
        name = re.sub(r"\\(.)", r"\1", quoted[1:-1])
    else:
        name = (plain or "").strip(" ")
        if not _PHRASE.fullmatch(name):
            raise PayloadError("address_syntax", f"{field}: the display name holds a character that needs quotes")
    if len(name.encode()) > NAME_LIMIT:
        raise PayloadError("header_too_long", f"{field}: the display name is longer than {NAME_LIMIT} octets")
    return name if name.strip() else ""


def _parse_spec(spec: str, name: str, field: str) -> Address:
    if '"' in spec:
        raise PayloadError("address_quoted", f"{field}: a quoted local part is refused")
    local, at, rest = spec.partition("@")
    if "=?" in local:
        raise PayloadError("address_encoded_word", f"{field}: an encoded word before the @ is refused")
    if not at or not _is_local(local):
        raise PayloadError("address_syntax", f"{field}: not of the form local@domain")
    address = Address(name, local, parse_domain(rest, field))
    if len(local.encode()) > LOCAL_LIMIT:
        raise PayloadError("address_syntax", f"{field}: more than {LOCAL_LIMIT} octets before the @")
    if len(address.addr_spec.encode()) > ADDRESS_LIMIT:
        raise PayloadError("address_syntax", f"{field}: the address is longer than {ADDRESS_LIMIT} octets")
    return address


def _is_local(text: str) -> bool:
    # Full-width forms of `@`, `<` and the like become the real ones in whoever normalises behind us: so the form
    # after normalising must be a dot-atom too. isprintable refuses blanks beyond ASCII and invisible characters.
    forms = (text, unicodedata.normalize("NFKC", text))
    return all(_DOT_ATOM.fullmatch(form) and form.isprintable() for form in forms)
