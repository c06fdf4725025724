from __future__ import annotations

import pytest

from mailculator.callback_url import check_url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/callback",
        "http://localhost/",
        "http://10.1.2.3/x?token=y",
        "https://producer.example.com/callback",
        "http://producer:9000/",
        "http://my_service.internal/",
        "https://[::1]:8443/",
        "https://xn--exmple-cua.com/",
    ],
)
def test_urls_that_will_do(url: str) -> None:
    assert check_url(url, require_https=False) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with http"),
        ("ftp://example.com/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("producer.example.com/callback", "must begin with http"),
        ("http:///callback", "must name a host"),
        ("http://:80/", "must name a host"),
        ("http://host:0/", "must name a host, and no port 0"),
        ("http://host:99999/", "is not a URL"),
        ("http://host:x/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://user@host/", "must not contain a user"),
        ("http://user:secret@host/", "must not contain a user"),
        ("http://host/\r\nX: y", "blanks or control"),
        ("http://ho st/", "blanks or control"),
        ("http://exämple.com/", "plain ASCII"),
        ("http://１６９.254.169.254/", "plain ASCII"),
        ("http://169.254.169%2e254/", "plain ASCII"),
        ("http://169.254.169.254/latest/meta-data", "link-local or metadata"),
        ("http://169.254.170.2/", "link-local or metadata"),
        ("http://169.254.169.254./", "link-local or metadata"),
        ("http://2852039166/", "link-local or metadata"),
        ("http://0xA9FEA9FE/", "link-local or metadata"),
        ("http://0251.0376.0251.0376/", "link-local or metadata"),
        ("http://[fe80::1]/", "link-local or metadata"),
        ("http://[fe80::1%25eth0]/", "link-local or metadata"),
        ("http://[fd00:ec2::254]/", "link-local or metadata"),
        ("http://[::ffff:169.254.169.254]/", "link-local or metadata"),
        ("http://168.63.129.16/", "link-local or metadata"),
        ("http://100.100.100.200/", "link-local or metadata"),
    ],
)
def test_urls_that_will_not(url: str, problem: str) -> None:
    found = check_url(url, require_https=False)
    assert found is not None
    assert problem in found
    assert "secret" not in found


def test_https_where_it_is_required() -> None:
    assert check_url("https://example.com/", require_https=True) is None
    assert check_url("http://127.0.0.1/", require_https=True) == "must begin with https://"
