"""Where the outbound door leads: the table of addresses, the forms of URLs, the exactness of the allow-list."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from lib.fetch import FetchError, Policy, Refused, check_host, check_url, classify
from lib.fetch.rules import checked_headers

PUBLIC = [
    "93.184.216.34",
    "8.8.8.8",
    "1.1.1.1",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.0",
    "11.0.0.0",
]
PUBLIC += ["169.253.1.1", "223.255.255.255", "192.0.1.1", "198.17.0.1", "198.20.0.1", "2606:4700::1111", "2a00:1450::1"]
PUBLIC += ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2003::1"]

SPECIAL = [
    *("127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16"),
    *(
        "192.0.0.1",
        "192.0.0.9",
        "192.0.0.192",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.175.48.1",
    ),
    *(
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.8.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *(
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
    ),
    *("5f00::1", "100::1", "100:0:0:1::1", "64:ff9b:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2620:4f:8000::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1"),
    *("64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    *("2001:0:4136:e378:8000:63bf:80ff:fffe", "4000::1", "8000::1", "e000::1", "0:0:0:1::", "not an address", ""),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert classify(address) is None


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_refused_with_a_reason(address: str) -> None:
    assert classify(address)


def test_a_wrapped_address_is_refused_for_what_is_inside() -> None:
    assert classify("::ffff:127.0.0.1") == "a loopback address"
    assert classify("64:ff9b::a9fe:a9fe") == "a link-local address inside a NAT64 address"
    assert classify("2002:a00:1::") == "a private address inside a 6to4 address"
    assert classify("2001:0:4136:e378:8000:63bf:80ff:fffe") == "a loopback address inside a Teredo address"


@given(st.ip_addresses(v=4))
@settings(max_examples=500)
def test_whatever_python_calls_not_global_is_refused_wrapped_or_not(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert classify(address)
        for prefix, shift in ((0xFFFF << 32, 0), (0x64FF9B << 96, 0), (0x2002 << 112, 80), (0, 0)):
            assert classify(IPv6Address(prefix | int(address) << shift))


@given(st.ip_addresses(v=6))
@settings(max_examples=500)
def test_ipv6_outside_global_unicast_is_refused_but_for_mapped_and_nat64(address: IPv6Address) -> None:
    if int(address) >> 125 != 1 and address.ipv4_mapped is None and int(address) >> 32 != 0x64FF9B << 64:
        assert classify(address)


ANY = Policy()


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://crm.example.com/hook", "https://crm.example.com/hook"),
        ("HTTPS://CRM.Example.COM", "https://crm.example.com/"),
        ("http://crm.example.com:80/", "http://crm.example.com/"),
        ("https://crm.example.com:443?a=1", "https://crm.example.com/?a=1"),
        ("https://crm.example.com:8443/x#part", "https://crm.example.com:8443/x"),
        ("https://crm.example.com./x", "https://crm.example.com/x"),
        ("https://bücher.example/ä?q=ü", "https://xn--bcher-kva.example/%C3%A4?q=%C3%BC"),
        ("https://ｅｘａｍｐｌｅ.com/", "https://example.com/"),
        ("https://a_b.example.com/", "https://a_b.example.com/"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        ("https://[2606:4700:0:0::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://x.example/a%20b?c=%2F&d=[1]", "https://x.example/a%20b?c=%2F&d=[1]"),
        ("https://x.example?@127.0.0.1/", "https://x.example/?@127.0.0.1/"),
        ("https://x.example/\u202e", "https://x.example/%E2%80%AE"),
        ("http://localhost:8000/", "http://localhost:8000/"),
        ("http://intranet/", "http://intranet/"),
    ],
)
def test_a_url_has_one_form(url: str, canonical: str) -> None:
    target = check_url(url, ANY)
    assert target.url == canonical
    assert check_url(canonical, ANY) == target


@pytest.mark.parametrize(
    "url",
    [
        *("", "crm.example.com", "ftp://x.example/", "file:///etc/passwd", "gopher://x.example", "javascript:alert(1)"),
        *("http:/x.example", "http:x.example", "http://", "https:///path", "http://?", "//x.example/", "http//x.y"),
        *("http://user@x.example/", "http://user:pass@x.example/", "http://x.example@127.0.0.1/", "http://@x.example/"),
        *("http://x.example\\@127.0.0.1/", "http://x.example\\.evil/", "http://x.example /", " http://x.example", "http://x.example\n"),
        *("http://x.example/\r\nHost: y", "http://x.exa\tmple/", "http://x.example/\0", "http://x.example/a b", "http://x\u00a0y/"),
        *("http://x.example:0/", "http://x.example:65536/", "http://x.example:99999999/", "http://x.example:80a/", "http://x:-1/"),
        *("http://x.example:80:90/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[x]/", "http://[fe80::1%25eth0]/"),
        *("http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/"),
        *("http://８.8.8.8/", "http://8。8。8。8/", "http://8.8.8.8./", "http://8.8.8/", "http://134744072/"),
        *("http://017700000001/", "http://0/", "http://0x/", "http://127.0.0.01/", "http://127.0.0.1./", "http://256.1.1.1/"),
        *("http://1.2.3.4.5/", "http://①②⑦.0.0.1/", "http://１２７.0.0.1/", "http://127。0。0。1/", "http://127．0．0．1/"),
        *("http://x.1/", "http://foo.0x1/", "http://%31%32%37.0.0.1/", "http://x%2e.example/", "http://x..example/", "http://.x/"),
        *("http://-x.example/", "http://x-.example/", "http://☃.x/", "http://a,b/", "http://*.x/"),
        *("http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/", "http://x.example/" + "a" * 9000, "http://\ud800/"),
        *("http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::]/"),
        *("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/"),
        *("http://0.0.0.0/", "http://224.0.0.1/", "http://255.255.255.255/", "http://[fd00:ec2::254]/", "http://100.64.0.1/"),
    ],
)  # fmt: skip
def test_odd_forms_and_special_addresses_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, ANY)
    assert caught.value.kind == "blocked"
    assert not caught.value.sent
    assert isinstance(caught.value, FetchError)
    assert str(caught.value).endswith((".", "]."))


def test_the_refusal_of_a_special_address_names_the_setting() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.5 is a private address.*WEBHOOK_ALLOWED_NETWORKS"):
        check_url("https://10.0.0.5/hook", ANY)


@given(st.text("htp:/@[]\\?#%.-_~aX1270x①。ü ", max_size=24).map("http://{}".format) | st.text(max_size=20))
@example("http://a@b")
@example("http://a:80/@")
@settings(max_examples=1000)
def test_no_accepted_url_means_another_host_to_another_parser(url: str) -> None:
    try:
        target = check_url(url, ANY)
    except Refused:
        return
    assert urlsplit(target.url).hostname == target.host
    assert URL(target.url, encoded=True).raw_host == target.host
    assert URL(target.url, encoded=True).port == target.port
    assert classify(target.host) in (None, "no IP address")


@pytest.mark.parametrize(
    ("networks", "url", "allowed"),
    [
        (["10.1.0.0/16"], "http://10.1.2.3/", True),
        (["10.1.0.0/16"], "http://10.2.2.3/", False),
        (["10.1.0.0/16"], "http://[::ffff:10.1.2.3]/", True),
        (["10.1.0.0/16"], "http://[64:ff9b::10.1.2.3]/", False),
        (["10.1.0.0/16"], "http://[2002:a01:203::]/", False),
        (["10.1.0.0/16"], "http://127.0.0.1/", False),
        (["10.1.2.3/32"], "http://10.1.2.4/", False),
        (["0.0.0.0/0"], "http://127.0.0.1/", True),
        (["0.0.0.0/0"], "http://[::1]/", False),
        (["fd00::/8"], "http://[fd00::1]/", True),
        (["fd00::/8"], "http://[fc00::1]/", False),
        (["::1/128"], "http://[::1]/", True),
        ([], "http://127.0.0.1/", False),
    ],
)
def test_the_allow_list_is_exact(networks: list[str], url: str, allowed: bool) -> None:
    policy = Policy(networks=networks)  # type: ignore[arg-type]
    if allowed:
        check_url(url, policy)
    else:
        with pytest.raises(Refused):
            check_url(url, policy)


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://127.0.0.1:9000/x", True),
        ("https://127.0.0.1:9000/x", True),
        ("http://127.0.0.1:9001/x", False),
        ("http://127.0.0.1/x", False),
        ("http://localhost:9000/x", False),
        ("http://[::ffff:127.0.0.1]:9000/x", False),
        ("http://API.example:80/x", True),
        ("http://api.example/x", True),
        ("https://api.example/x", False),
        ("http://x.api.example/x", False),
        ("http://xapi.example/x", False),
    ],
)
def test_a_host_is_trusted_with_its_port_and_nothing_else_is(url: str, trusted: bool) -> None:
    policy = Policy(hosts=("127.0.0.1:9000", "Api.Example:80"), networks=("127.0.0.0/8", "::/0"))  # type: ignore[arg-type]
    assert policy.trusts(check_url(url, policy)) is trusted


def test_https_and_ports_can_be_asked_for_but_not_of_trusted_hosts() -> None:
    policy = Policy(https_only=True, ports=frozenset({443, 8443}), hosts=("sandbox.example:9000",))
    check_url("https://x.example:8443/", policy)
    check_url("http://sandbox.example:9000/", policy)
    for url in ("http://x.example/", "https://x.example:22/", "http://sandbox.example:9001/"):
        with pytest.raises(Refused):
            check_url(url, policy)


def test_a_mail_host_is_judged_alike() -> None:
    assert check_host("Mail.Example.com.", 993, ANY).place == "mail.example.com:993"
    assert check_host("2606:4700::1111", 25, ANY).place == "[2606:4700::1111]:25"
    for host, port in (
        ("127.0.0.1", 25),
        ("::1", 25),
        ("127.1", 25),
        ("a b", 25),
        ("x.example", 0),
        ("x@y", 25),
        ("", 25),
    ):
        with pytest.raises(Refused):
            check_host(host, port, Policy(https_only=True))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"}, {"content-length": "5"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"}, {"X Y": "1"},
        {"X:": "1"}, {"X\r\nY": "1"}, {"": "1"}, {"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X": "a\0b"}, {"X": "漢"},
    ],
)  # fmt: skip
def test_headers_that_would_bend_the_request_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        checked_headers(headers)


def test_honest_headers_pass() -> None:
    headers = {"X-Webhook-Signature": "ab" * 32, "Authorization": "Bearer x y", "X-Name": "é", "X-Empty": ""}
    assert checked_headers(headers) == headers


PIECES = [
    "http://",
    "https://",
    "a.b",
    "127.0.0.1",
    "①",
    "x.example",
    ":80",
    "@",
    "[::1]",
    "[2606:4700::1]",
    "/",
    "?",
    "#",
]
PIECES += [
    "%2f",
    "0x7f",
    "。",
    ".",
    "ü",
    "-",
    "8.8.8.8",
    "\\",
    ":",
    "1",
    "_",
    "\t",
    "&",
    "；",
    "ß",
    "\u00ad",
    "\u200d",
    "K",
]
NODE = """
const accepted = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const other = ([url, host, port]) => {
  const seen = new URL(url), name = seen.hostname.replace(/^\\[|\\]$/g, '').replace(/\\.$/, '');
  return name !== host || Number(seen.port || (seen.protocol === 'https:' ? 443 : 80)) !== port;
};
console.log(JSON.stringify({seen: accepted.length, other: accepted.filter(other).slice(0, 5)}));
"""


def test_every_accepted_url_means_the_same_host_to_browsers() -> None:
    chance, accepted = random.Random(11), []
    for _ in range(20_000):
        url = "http://" + "".join(chance.choice(PIECES) for _ in range(chance.randrange(6)))
        with contextlib.suppress(Refused):
            target = check_url(url, ANY)
            accepted.append((url, target.host, target.port))
    node = shutil.which("node")
    assert node
    done = subprocess.run([node, "-e", NODE], input=json.dumps(accepted).encode(), capture_output=True, check=True)
    assert json.loads(done.stdout) == {"seen": len(accepted), "other": []}
    assert len(accepted) > 1000
