"""Where the providers are, and where else a channel may call: set once by each entrance, read before each call.

Never set by a tenant: whoever names a host here is trusted with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol
from urllib.parse import urlsplit

from lib.fetch import FetchError, Policy, check_url

Network = IPv4Network | IPv6Network


class Settings(Protocol):
    """The part of the settings that channels read."""

    @property
    def meta_graph_url(self) -> str: ...
    @property
    def meta_graph_version(self) -> str: ...
    @property
    def instagram_graph_url(self) -> str: ...
    @property
    def twilio_api_url(self) -> str: ...
    @property
    def google_oauth_url(self) -> str: ...
    @property
    def microsoft_login_url(self) -> str: ...
    @property
    def mail_trusted_hosts(self) -> Sequence[str]: ...
    @property
    def webhook_allowed_networks(self) -> Sequence[Network]: ...


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The defaults are the real providers."""

    meta_graph_url: str = "https://graph.facebook.com"
    meta_graph_version: str = "v26.0"
    instagram_graph_url: str = "https://graph.instagram.com"
    twilio_api_url: str = "https://api.twilio.com"
    google_oauth_url: str = "https://oauth2.googleapis.com"
    microsoft_login_url: str = "https://login.microsoftonline.com"
    mail_trusted_hosts: Sequence[str] = ()
    webhook_allowed_networks: Sequence[Network] = ()


_current: Settings = Endpoints()


def configure(settings: Settings) -> None:
    """Set where the providers are, for this process."""
    global _current
    _current = settings


def current() -> Settings:
    return _current


def policy(url: str) -> Policy:
    """Let a call to `url`, the base that an operator's setting names, reach that very host, wherever it lies."""
    return Policy(networks=tuple(_current.webhook_allowed_networks), hosts=(_place(url),))


def serves_media(url: str, *, hosts: Sequence[str], base: str) -> bool:
    """Say whether a provider's file may be fetched from `url`: https on one of `hosts` or below, or the base itself."""
    try:
        target = check_url(url, policy(base))
    except FetchError:
        return False
    if target.place == _place(base):
        return target.scheme == urlsplit(base).scheme
    known = any(target.host == host or target.host.endswith(f".{host}") for host in hosts)
    return known and target.scheme == "https" and target.port == 443


def _place(url: str) -> str:
    """Name the host and port of a setting's URL, the port always spelt out."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
