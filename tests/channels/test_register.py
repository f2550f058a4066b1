"""The register, what an admin enters for an account, and which hosts a channel may call."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

import channels
import config
from channels import endpoints
from channels.base import Limits
from errors import NotFound
from tests.channels import kinds


def test_an_unknown_kind_is_not_found() -> None:
    with pytest.raises(NotFound, match="whatsapp"):
        channels.get("pigeon")


def test_every_kind_is_known_to_the_tests() -> None:
    assert set(channels.KINDS) == set(kinds.PROVIDERS)
    assert all(kinds.situations(kind) for kind in channels.KINDS)


def whatsapp(**entered: object) -> dict[str, object]:
    return channels.get("whatsapp").normalise(kinds.PROVIDERS["whatsapp"].config | entered)


def test_a_phone_number_loses_what_people_write_between_its_digits() -> None:
    assert whatsapp(phone_number=" +353 (1) 600-00.00 ")["phone_number"] == "+35316000000"


@pytest.mark.parametrize("number", ["01 600 0000", "35316000000", "+353 1 600 0000 ext 5", "+"])
def test_a_phone_number_without_its_country_code_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"^phone_number: With its country code"):
        whatsapp(phone_number=number)


def test_an_id_may_come_as_a_number() -> None:
    assert whatsapp(phone_number_id=5550001)["phone_number_id"] == "5550001"


@pytest.mark.parametrize("value", ["5550001/../me", "٥٥٥", "five", "1" * 33])
def test_an_id_that_is_not_of_digits_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^phone_number_id: "):
        whatsapp(phone_number_id=value)


@pytest.mark.parametrize("token", ["a b", "a\u00e9", "a\r\nX-Evil: 1"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"^access_token: "):
        whatsapp(access_token=token)


def test_a_verify_token_is_made_where_none_is_entered() -> None:
    made = {whatsapp(verify_token=empty)["verify_token"] for empty in ("", None, "  ")}
    assert len(made) == 3
    assert all(len(str(token)) >= 32 for token in made)


def test_the_limit_of_a_type_is_the_closest_one() -> None:
    limits = Limits(media={"image/png": 1, "image/*": 2, "*/*": 3})
    types = ("image/png", "IMAGE/PNG; q=1", "image/gif", "text/plain")
    assert [limits.max_bytes(mime) for mime in types] == [1, 1, 2, 3]
    assert Limits().max_bytes("image/png") == 0


def test_the_settings_say_where_the_providers_are() -> None:
    before = endpoints.current()
    given = {"WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8", "META_GRAPH_URL": "http://127.0.0.1:9/"}
    channels.configure(config.load(APP_ENV="test", SECRET_KEY="k" * 40, **given))
    try:
        policy = endpoints.policy(endpoints.current().meta_graph_url)
        assert (policy.networks, policy.hosts) == ((ip_network("10.0.0.0/8"),), ("127.0.0.1:9",))
    finally:
        endpoints.configure(before)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://graph.facebook.com", "graph.facebook.com:443"),
        ("http://sandbox", "sandbox:80"),
        ("http://[::1]:8600/x", "[::1]:8600"),
    ],
)
def test_a_settings_host_is_trusted_with_its_port(url: str, named: str) -> None:
    assert endpoints.policy(url).hosts == (named,)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://lookaside.fbsbx.com/a", True),
        ("https://fbsbx.com/a", True),
        ("https://FBSBX.com:443/a", True),
        ("http://sandbox:8600/file", True),
        ("https://sandbox:8600/file", False),
        ("http://sandbox:8601/file", False),
        ("http://user@sandbox:8600/file", False),
        ("https://evilfbsbx.com/", False),
        ("https://fbsbx.com.evil.example/", False),
        ("https://fbsbx.com:99999/", False),
        ("ftp://fbsbx.com/", False),
        ("//fbsbx.com/", False),
    ],
)
def test_a_file_is_fetched_from_the_providers_hosts_and_from_the_base_alone(url: str, allowed: bool) -> None:
    assert endpoints.serves_media(url, hosts=("fbsbx.com",), base="http://sandbox:8600") is allowed
