"""One address, and nothing that could be read as another."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator import address
from mailculator.address import Address
from mailculator.errors import PayloadError


def code(text: str) -> str:
    with pytest.raises(PayloadError) as caught:
        address.parse(text, "to")
    assert caught.value.detail.startswith("to: ")
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a@b.com", Address("", "a", "b.com")),
        (" a@b.com ", Address("", "a", "b.com")),
        ("<a@b.com>", Address("", "a", "b.com")),
        ("First.Last+tag=x@EXAMPLE.Com", Address("", "First.Last+tag=x", "example.com")),
        ("o'hara@ex-ample.co.uk", Address("", "o'hara", "ex-ample.co.uk")),
        # bad input 26: a display name, plain or quoted
        ("Name <a@b.com>", Address("Name", "a", "b.com")),
        ("Name<a@b.com>", Address("Name", "a", "b.com")),
        ("Rossi S.r.l. <a@b.com>", Address("Rossi S.r.l.", "a", "b.com")),
        ("Città  di Forlì <a@b.com>", Address("Città  di Forlì", "a", "b.com")),
        ('"Rossi, Mario" <a@b.com>', Address("Rossi, Mario", "a", "b.com")),
        (r'"a \"b\" \\ c" <a@b.com>', Address(r'a "b" \ c', "a", "b.com")),
        ('"  kept  " <a@b.com>', Address("  kept  ", "a", "b.com")),
        ('"x@evil.com <y@evil.com>; z:" <a@b.com>', Address("x@evil.com <y@evil.com>; z:", "a", "b.com")),
        ('"" <a@b.com>', Address("", "a", "b.com")),
        ('"   " <a@b.com>', Address("", "a", "b.com")),
        # bad input 16: an encoded word in a name is literal text
        ("=?utf-8?q?a=0D=0ABcc=3A_e?= <a@b.com>", Address("=?utf-8?q?a=0D=0ABcc=3A_e?=", "a", "b.com")),
        # bad inputs 23 and 24
        ("a@exämple.com", Address("", "a", "xn--exmple-cua.com")),
        ("a@ＥＸ。com", Address("", "a", "ex.com")),
        ("a@XN--exmple-cua.com", Address("", "a", "xn--exmple-cua.com")),
        ("ü@ex.com", Address("", "ü", "ex.com")),
        ("a" * 64 + "@b.com", Address("", "a" * 64, "b.com")),
        ("a@" + "b" * 63 + ".com", Address("", "a", "b" * 63 + ".com")),
    ],
)
def test_one_address(text: str, parsed: Address) -> None:
    assert address.parse(text, "to") == parsed


@pytest.mark.parametrize(
    ("bad_input", "text", "expected"),
    [
        (13, "   ", "field_required"),
        (18, "a@b.com, c@d.com", "address_multiple"),
        (18, "a@b.com; c@d.com", "address_multiple"),
        (18, "A <a@b.com>, C <c@d.com>", "address_multiple"),
        (18, "Rossi, Mario <a@b.com>", "address_multiple"),
        (18, "g: a@b.com, c@d.com;", "address_group"),
        (18, "undisclosed-recipients:;", "address_group"),
        (19, "alice@example.org)x@evil", "address_syntax"),
        (19, '"a"@ok.com(x)evil.com', "address_syntax"),
        (19, "a@b.com (x (y) z)", "address_syntax"),
        (19, "a(x)@b.com", "address_syntax"),
        (19, "a@b@c.com", "address_syntax"),
        (19, "a@b.com c@d.com", "address_syntax"),
        (19, "<a@b.com> x", "address_syntax"),
        (19, "a@b.com <c@d.com>", "address_syntax"),
        (19, "<<a@b.com>>", "address_syntax"),
        (19, '"A" B <a@b.com>', "address_syntax"),
        (19, '"A <a@b.com>', "address_syntax"),
        (19, "< a@b.com >", "address_syntax"),
        (20, '"a@evil.com x"@ok.com', "address_quoted"),
        (20, '"a"@ok.com', "address_quoted"),
        (20, 'Name <"a"@ok.com>', "address_quoted"),
        (21, "=?x?q?collab=40evil=3e=00?=foo@ok.com", "address_encoded_word"),
        (22, "a@b.com\r\nRCPT TO:<v@x>", "address_control"),
        (22, "a@b.com\n", "address_control"),
        (22, "a\x00@b.com", "address_control"),
        (22, "Na\u2028me <a@b.com>", "address_control"),
        (22, "Na\tme <a@b.com>", "address_control"),
        (25, "a@[127.0.0.1]", "address_syntax"),
        (25, "a@[IPv6:::1]", "address_syntax"),
        (25, "a@127.0.0.1", "address_syntax"),
        (25, "a@localhost", "address_syntax"),
        (25, "a@b", "address_syntax"),
        (25, "a@b.com.", "address_syntax"),
        (25, "a..b@c.com", "address_syntax"),
        (25, ".a@c.com", "address_syntax"),
        (25, "a.@c.com", "address_syntax"),
        (25, "a@b..com", "address_syntax"),
        (25, "a@-b.com", "address_syntax"),
        (25, "a@b_c.com", "address_syntax"),
        (25, "@b.com", "address_syntax"),
        (25, "a@", "address_syntax"),
        (25, "nobody", "address_syntax"),
        (25, "a" * 65 + "@b.com", "address_syntax"),
        (25, "ü" * 33 + "@b.com", "address_syntax"),
        (25, "abcd@" + ".".join(["b" * 60] * 4) + ".example", "address_syntax"),
        (25, "a@" + "b" * 64 + ".com", "address_syntax"),
        (23, "a@ex\u200dämple.com", "address_syntax"),
        (23, "a@ä..com", "address_syntax"),
        (23, "a@ä" + "b" * 63 + ".com", "address_syntax"),
        (24, "a＠evil.com@ok.com", "address_syntax"),
        (24, "a\u00a0b@ok.com", "address_syntax"),
        (24, "a\u202eb@ok.com", "address_syntax"),
        (28, "a" * 1_000_000 + "@b.com", "size"),
        (28, '"' + "a" * 601 + '" <a@b.com>', "header_too_long"),
    ],
)
def test_refused(bad_input: int, text: str, expected: str) -> None:
    assert code(text) == expected, f"bad input {bad_input}"


@settings(max_examples=500, deadline=None)
@given(
    st.from_regex(r"[a-z=?.+]{1,4}@[aB1.\-]{1,12}", fullmatch=True)
    | st.from_regex(r"[a-zA-Z=?.]{0,70}@(?:[a-zA-Z0-9\-]{0,64}\.){0,3}[a-z0-9]{0,66}", fullmatch=True)
)
def test_the_short_way_of_common_addresses_leads_where_the_rules_lead(text: str) -> None:
    def outcome() -> Address | str:
        try:
            return address.parse.__wrapped__(text, "to")
        except PayloadError as error:
            return str(error)

    short = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address, "_COMMON", re.compile(r"(?!)"))
        assert short == outcome()


def test_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    assert address.parse("ü@ex.com", "to").needs_smtputf8
    assert not address.parse("Ü <u@exämple.com>", "to").needs_smtputf8


def test_the_domain_is_the_same_however_it_is_written() -> None:
    forms = ["a@EXÄMPLE.com", "a@exämple.com", "a@exa\u0308mple.com", "a@xn--exmple-cua.com", "a@XN--EXMPLE-CUA.COM"]
    assert {address.parse(form, "to").addr_spec for form in forms} == {"a@xn--exmple-cua.com"}


@pytest.mark.parametrize(
    "text", ["x" * 1000, "a" * 990 + "!", " " * 999 + "x", '"' * 999, '"\\' * 499, "." * 1000, "ä" * 999 + "@"]
)
def test_long_input_is_refused_in_linear_time(text: str) -> None:
    assert code(f"{text} <").startswith(("address_", "size"))
    assert code(text[:990] + " <").startswith("address_")


MESSY = st.text(alphabet=st.sampled_from('ab.@<>"\\,;:()[] =?é＠\t\r\n\u2028İß\u200d'), max_size=40)


@given(st.one_of(st.text(), MESSY, st.builds("{}@{}.com".format, st.text(min_size=1), st.text(min_size=1))))
@settings(max_examples=600, deadline=None)
def test_whatever_is_accepted_is_one_plain_mailbox(text: str) -> None:
    try:
        parsed = address.parse(text, "to")
    except PayloadError:
        return
    assert parsed.addr_spec.count("@") == 1
    assert not set(parsed.addr_spec) & set(' \t\r\n<>(),;:\\"[]')
    assert parsed.domain.isascii()
    assert parsed.domain == parsed.domain.lower()
    assert len(parsed.addr_spec.encode()) <= address.ADDRESS_LIMIT
    assert address.parse(f"<{parsed.addr_spec}>", "to") == Address("", parsed.local, parsed.domain)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=100))
@settings(max_examples=300, deadline=None)
def test_a_quoted_name_is_kept_exactly(name: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    assert address.parse(f'"{escaped}" <a@b.com>', "to").name == (name if name.strip() else "")
