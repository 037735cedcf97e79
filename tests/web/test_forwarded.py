"""Addresses that proxies report, and what clients put before them."""

from __future__ import annotations

from typing import Any

import pytest

from imagequeue.web.forwarded import UNKNOWN, Forwarded, address_of, client_at


def seen(proxies: int, header: str | None, scheme: str | None = None) -> tuple[str, str]:
    """(address, scheme) that the application sees of a request from the proxy at 10.0.0.1."""
    environ: dict[str, Any] = {"REMOTE_ADDR": "10.0.0.1", "wsgi.url_scheme": "http"}
    if header is not None:
        environ["HTTP_X_FORWARDED_FOR"] = header
    if scheme is not None:
        environ["HTTP_X_FORWARDED_PROTO"] = scheme
    Forwarded(lambda environ, start_response: [], proxies)(environ, lambda *arguments: print)
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]


@pytest.mark.parametrize(
    "sent",
    [
        "",
        '"',
        '"x',
        '"x\\',
        'a"',
        '"a", "',
        "203.0.113.9",
        "203.0.113.9, 203.0.113.8",
        "x" * 10_000,
        "\xe4\x00",
        "," * 5000,
    ],
)
@pytest.mark.parametrize("proxy", ["198.51.100.1", " 198.51.100.1 ", "198.51.100.1:4711"])
def test_whatever_a_client_sends_the_trusted_proxys_entry_counts(sent: str, proxy: str) -> None:
    assert seen(1, f"{sent}, {proxy}")[0] == "198.51.100.1"
    assert seen(2, f"{sent}, {proxy}, 10.0.0.2")[0] == "198.51.100.1"


@pytest.mark.parametrize(
    ("proxies", "header"), [(1, None), (1, ""), (2, "198.51.100.1"), (3, "198.51.100.1, 198.51.100.2")]
)
def test_fewer_entries_than_proxies_are_not_believed(proxies: int, header: str | None) -> None:
    assert seen(proxies, header)[0] == "10.0.0.1"


@pytest.mark.parametrize(
    "text",
    [
        *("unknown", "_hidden", "", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4:5:6", '"1.2.3.4', "1.2.3.4 x"),
        *("[", "[]", "[x]:80", "::1::2", "::g"),
        *("٣.1.1.1", "3232235777", "0x7f.1", "1.2.3.04", "x" * 10_000, "1" * 10_000),
    ],
)
def test_what_is_no_address_is_everybody_elses(text: str) -> None:
    assert address_of(text) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:56789", "1.2.3.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%any-text", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:102:304]:80", "1.2.3.4"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert address_of(text) == address


def test_of_ipv6_the_network_is_the_client_and_of_ipv4_the_address() -> None:
    assert client_at("1.2.3.4") == "1.2.3.4"
    assert client_at(UNKNOWN) == UNKNOWN
    assert client_at("2001:db8:1:2::1") == client_at("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert client_at("2001:db8:1:3::1") != client_at("2001:db8:1:2::1")


def test_the_scheme_is_one_of_two() -> None:
    assert seen(1, None, "https") == ("10.0.0.1", "https")
    assert seen(1, None, "http, https") == ("10.0.0.1", "https")
    for garbage in ("javascript", '"https', "https, ", "HTTPS://x", "x" * 10_000):
        assert seen(1, None, garbage) == ("10.0.0.1", "http")
