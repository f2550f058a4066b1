"""E9: an origin is exactly one, a wildcard names hosts below and no other, and a mistake opens nothing."""

from __future__ import annotations

import pytest

from lib import frame_origins


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://crm.example.com", "https://crm.example.com"),
        (" HTTPS://CRM.Example.com/ ", "https://crm.example.com"),
        ("https://crm.example.com:443", "https://crm.example.com"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("https://*.lightning.force.com", "https://*.lightning.force.com"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(written: str, read: str) -> None:
    assert frame_origins.normalise(written) == read


MISTAKES = [
    *("", "*", "https://", "https://*", "crm.example.com", "https://crm.example.com/path", "https://u@x", "ftp://x"),
    *("https://x;y", "https://x,https://y", "https://*.*.com", "https://a.*.com", "https://x'", 'https://x"'),
    *("https://a b", "https://x\nhttps://y", "javascript://x", "data:text/html,x"),
]


@pytest.mark.parametrize("written", MISTAKES, ids=ascii)
def test_what_is_more_or_less_than_an_origin_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="write an origin"):
        frame_origins.normalise(written)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://crm.example.com/customers/1?x=y", "https://crm.example.com"),
        ("https://somebody:secret@crm.example.com/", "https://crm.example.com"),
        ("about:blank", ""),
        ("null", ""),
        ("https://[bad/", ""),
        ("", ""),
    ],
)
def test_a_pages_address_gives_its_origin(url: str, origin: str) -> None:
    assert frame_origins.of(url) == origin


def test_a_wildcard_names_hosts_below_and_no_other() -> None:
    listed = ["https://*.force.com", "http://localhost:9000"]
    named = ["https://acme.lightning.force.com", "http://localhost:9000"]
    others = ["https://force.com", "https://evilforce.com", "http://acme.force.com", "https://force.com.evil.org"]
    others += ["http://localhost:9001", "https://acme.force.com:8443", "", "null"]
    assert all(frame_origins.allow(listed, origin) for origin in named)
    assert not any(frame_origins.allow(listed, origin) for origin in others)


def test_an_empty_list_names_all_and_a_list_of_mistakes_names_nobody() -> None:
    assert frame_origins.allow([], "https://anybody.example")
    assert frame_origins.policy([]) == ""
    assert not frame_origins.allow(["*", "nonsense"], "https://anybody.example")
    assert frame_origins.policy(["*", "nonsense"]) == "frame-ancestors 'none'"
