"""Fetch a file that came by WhatsApp, and make sure that it is the one described. Worker only.

Called by the channel.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from channels import meta, untrusted
from channels.base import ChannelError, Media
from channels.whatsapp.outbound import base_type
from lib.fetch import Response


def fetch(graph: meta.Graph, number: str, media: Media, max_bytes: int) -> tuple[bytes, str, str]:
    """Fetch in two steps: the id gives a URL that lives five minutes, then the file. A dead URL is renewed once."""
    if not media.provider_id:
        raise ChannelError("WhatsApp did not say which file this is.", code="media_missing")
    for _ in range(2):
        found = _describe(graph, media.provider_id, number)
        if _size(found.get("file_size")) > max_bytes:
            raise _too_large(max_bytes)
        response = graph.download(untrusted.text(found.get("url")), max_bytes=max_bytes, authorised=True)
        if response.status != 404:
            break
    mime = base_type(untrusted.text(found.get("mime_type")) or media.mime)
    _check_answer(response, mime, max_bytes)
    expected = _digest(untrusted.text(found.get("sha256"))) or _digest(media.sha256 or "")
    if expected and hashlib.sha256(response.body).digest() != expected:
        raise ChannelError("The file is not the one that WhatsApp described.", action="retry", code="media_hash")
    return response.body, mime, media.filename


def _describe(graph: meta.Graph, provider_id: str, number: str) -> dict[str, Any]:
    try:
        return graph.get(provider_id, phone_number_id=number)
    except ChannelError as error:
        if error.code == "100/33":  # of a number it would be trouble with the account; of a file it is its age
            raise ChannelError("WhatsApp keeps a file for seven days; this one is gone.", code="media_gone") from error
        raise


def _check_answer(response: Response, mime: str, max_bytes: int) -> None:
    """Refuse an error, a page in place of the file, or half a file."""
    if response.status >= 300:
        said = f"WhatsApp's media server answered {response.status} instead of the file."
        raise ChannelError(said, action="retry", code=f"media_{response.status}")
    if response.truncated:
        raise _too_large(max_bytes)
    if base_type(response.headers.get("content-type", "")) == "text/html" != mime:
        said = "WhatsApp's media server answered a page instead of the file."
        raise ChannelError(said, action="retry", code="media_page")


def _too_large(max_bytes: int) -> ChannelError:
    return ChannelError(f"The file is larger than {max_bytes} bytes, so it was not fetched.", code="too_large")


def _size(value: object) -> int:
    digits = untrusted.text(value)
    return int(digits) if digits.isdecimal() and digits.isascii() else 0


def _digest(declared: str) -> bytes | None:
    """Read a SHA-256 in hexadecimal or base64; what is neither cannot be compared."""
    try:
        found = bytes.fromhex(declared) if len(declared) == 64 else base64.b64decode(declared, validate=True)
    except (ValueError, binascii.Error):
        return None
    return found if len(found) == 32 else None
