"""The register of channels: kind → the one instance. Services and the worker ask here and nowhere else.

A new channel adds one line to `_ALL`; docs/adding-a-channel.md tells the rest.
"""

from __future__ import annotations

from channels.contract import Channel
from channels.email import Email
from channels.endpoints import configure
from channels.facebook import Messenger
from channels.instagram import Instagram
from channels.sms import Sms
from channels.whatsapp import WhatsApp
from errors import NotFound

_ALL: tuple[Channel, ...] = (WhatsApp(), Messenger(), Instagram(), Sms(), Email())

KINDS = tuple(channel.kind for channel in _ALL)
_BY_KIND: dict[str, Channel] = {channel.kind: channel for channel in _ALL}

__all__ = ["KINDS", "configure", "get"]


def get(kind: str) -> Channel:
    """Give the channel of a kind; raise `NotFound`."""
    if kind not in _BY_KIND:
        raise NotFound(f"There is no channel {kind}; there are {', '.join(KINDS)}.", code="channel_not_found")
    return _BY_KIND[kind]
