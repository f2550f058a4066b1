"""Where the outbound door leads and where it does not. Pure judgement: nothing here opens a connection.

Python's `is_private` and `is_global` let multicast, NAT64, 6to4 and more pass, so the table is our own, after IANA's
registries of special-purpose addresses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import quote

import idna

from lib.headers import TRANSPORT

Kind = Literal["dns", "refused", "tls", "timeout", "reset", "blocked", "redirect", "too_large", "protocol"]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "WEBHOOK_ALLOWED_NETWORKS"
MAX_URL = 8192


class FetchError(Exception):
    """A request that got no whole answer. `sent`: its bytes may have reached the other side, so it may have worked."""

    def __init__(self, kind: Kind, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.kind, self.message, self.sent = kind, message, sent


class Refused(FetchError):
    """We do not call there; the sentence says why, and which setting would allow it."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__("blocked", message, sent=sent)


@dataclass(frozen=True, slots=True)
class Policy:
    """Where a caller may go besides public addresses. An operator's settings make it, never a tenant's.

    `hosts` are exact `host:port` pairs that a setting names: trusted wherever they lie, whatever else is asked for.
    """

    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    https_only: bool = False
    ports: frozenset[int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", tuple(ip_network(network) for network in self.networks))
        object.__setattr__(self, "hosts", tuple(host.lower() for host in self.hosts))
        object.__setattr__(self, "ports", None if self.ports is None else frozenset(self.ports))

    def trusts(self, target: Target) -> bool:
        return target.place in self.hosts

    def objection(self, target: Target, address: str) -> str | None:
        """Say why this address of the target may not be dialled, or None."""
        reason = classify(address)
        if reason is None or self.trusts(target):
            return None
        dialled = _unmapped(ip_address(address))
        return None if any(dialled in network for network in self.networks) else reason


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once. `host` is ASCII and lower-case, an IPv6 address without its brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str  # with its query, as it goes on the wire

    @property
    def place(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header's value: the port only where it is not the usual one."""
        usual = 443 if self.scheme == "https" else 80
        return _bracketed(self.host) if self.port == usual else self.place

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


_SPECIAL = [
    (ip_network(network), reason)
    for reason, networks in {
        "a loopback address": "127.0.0.0/8 ::1/128",
        "a private address": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
        "a link-local address": "169.254.0.0/16 fe80::/10",
        "an address that a network shares among its customers": "100.64.0.0/10",
        "the address of a cloud's metadata service": "168.63.129.16/32",
        "an unspecified address": "0.0.0.0/8 ::/128",
        "a multicast address": "224.0.0.0/4 ff00::/8",
        "an address for documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        "an address for benchmarks": "198.18.0.0/15",
        "an address with a special purpose": "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24"
        " 192.175.48.0/24 64:ff9b:1::/48 100::/63 2001::/23 2620:4f:8000::/48 5f00::/16",
        "a reserved address": "240.0.0.0/4",
    }.items()
    for network in networks.split()
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# Networks whose addresses hold an IPv4 address: (network, its name, how far the IPv4 address is shifted, its mask).
_TUNNELS = (
    (_NAT64, "a NAT64 address", 0, 0),
    (IPv6Network("2002::/16"), "a 6to4 address", 80, 0),
    (IPv6Network("2001::/32"), "a Teredo address", 0, 0xFFFFFFFF),
    (IPv6Network("::ffff:0:0:0/96"), "a translated IPv4 address", 0, 0),
    (IPv6Network("::/96"), "an IPv4-compatible address", 0, 0),
)


def _unmapped(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=8192)
def classify(ip: str | Address) -> str | None:
    """Say why this is no public address to call (`a private address`), or None if it is one."""
    try:
        address = _unmapped(ip_address(ip))
    except ValueError:
        return "no IP address"
    if isinstance(address, IPv6Address) and int(address) > 1:
        for tunnel, name, shift, mask in _TUNNELS:
            if address in tunnel:
                inner = classify(IPv4Address((int(address) >> shift & 0xFFFFFFFF) ^ mask))
                return f"{inner} inside {name}" if inner else None if tunnel is _NAT64 else name
    for network, reason in _SPECIAL:
        if address in network:
            return reason
    return "a reserved address" if address.version == 6 and address not in _GLOBAL_UNICAST else None


_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@]+))(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)


@lru_cache(maxsize=8192)
def check_url(url: str, policy: Policy) -> Target:
    """Take a URL apart, once; raise `Refused` for what is no plain web address, or an address that we do not call.

    Names are not looked up here: their addresses are judged when they are dialled.
    """
    if len(url) > MAX_URL or re.search(r"[\x00-\x20\x7f-\xa0\\]", url):
        raise Refused("This is no web address: it is too long, or has spaces, backslashes or control characters.")
    parts = _URL.match(url)
    if parts is None:
        raise Refused("The address must start with http:// or https://.")
    authority = _AUTHORITY.fullmatch(parts[2])
    if "@" in parts[2]:
        raise Refused("The address must not hold a user name or password.")
    if authority is None:
        raise Refused("The address must name a host, and may name a port.")
    scheme: Literal["http", "https"] = "https" if parts[1].lower() == "https" else "http"
    port = int(authority[3] or (443 if scheme == "https" else 80))
    host = _ipv6(authority[1]) if authority[1] else _host(authority[2])
    path = quote(parts[3].encode("utf-8", "replace"), safe="%/?:@!$&'()*+,;=~-._[]")
    target = Target(scheme, host, port, path if path.startswith("/") else "/" + path)
    _check_target(target, policy)
    return target


def check_host(host: str, port: int, policy: Policy) -> Target:
    """Judge a bare host and port, as of a mail server; raise `Refused`."""
    target = Target("https", _ipv6(host) if ":" in host else _host(host), port, "/")
    _check_target(target, Policy(policy.networks, policy.hosts, ports=policy.ports))
    return target


def _check_target(target: Target, policy: Policy) -> None:
    if not 0 < target.port < 65536:
        raise Refused("The port must be a number from 1 to 65535.")
    if policy.trusts(target):
        return
    if policy.https_only and target.scheme != "https":
        raise Refused("The address must start with https://.")
    if policy.ports is not None and target.port not in policy.ports:
        raise Refused(f"Port {target.port} is not among those that may be called: {sorted(policy.ports)}.")
    if is_address(target.host):
        vet(target, [target.host], policy)


def vet(target: Target, addresses: Iterable[str], policy: Policy) -> None:
    """Raise `Refused` if any of a target's addresses may not be dialled; the sentence does not tell which it was."""
    for address in addresses:
        if reason := policy.objection(target, address):
            verb = "is" if address == target.host else "leads to"
            raise Refused(f"{target.host} {verb} {reason}. An operator can allow its network with {SETTING}.")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Give the headers back if none can break out of its line or bend the request; raise `Refused`."""
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or name.lower() in TRANSPORT:
            raise Refused(f"The header {name[:100]!r} cannot be set.")
        if not re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]*", value):
            raise Refused(f"The value of the header {name} has characters that a header cannot carry.")
    return dict(headers)


def _host(text: str) -> str:
    """Give the one ASCII form of a host's name or IPv4 address."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        name = unicodedata.normalize("NFKC", text)
    name = name.removesuffix(".")
    if _ENDS_IN_NUMBER.fullmatch(name):  # to a resolver 127.1, 0x7f000001 and full-width digits are addresses too
        if name != text or not is_address(text):
            raise Refused("An IP address must be written in its usual form, four decimal numbers with dots.")
    elif len(name) > 253 or not _NAME.fullmatch(name):
        raise Refused(f"{text[:100]!r} is no name of a host.")
    return name


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise Refused(f"{text!r} is no IPv6 address.") from None


def is_address(host: str) -> bool:
    """Say whether a target's host is an address already, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
