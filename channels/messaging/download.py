"""Fetch a file that came by Messenger or Instagram, from the address that its callback gave. Worker only.

Called by the two channels. The addresses need no token and die soon, those of stories within a day.
"""

from __future__ import annotations

from channels import meta
from channels.base import ChannelError, Media
from lib import sniff

REDIRECTS = 3


def fetch(graph: meta.Graph, media: Media, max_bytes: int) -> tuple[bytes, str, str]:
    """Fetch the bytes and say what they are; what cannot be had again is a permanent error."""
    name = graph.verdicts.provider
    if not media.url:
        raise ChannelError(f"{name} did not say where this file is.", code="media_missing")
    response = graph.download(media.url, max_bytes=max_bytes, authorised=False, follow=REDIRECTS)
    if response.status in (400, 401, 403, 404, 410):
        said = f"{name} does not have this file any more; stories and links to files are gone within a day."
        raise ChannelError(said, code="media_gone")
    if response.status >= 300:
        said = f"{name}'s media server answered {response.status} instead of the file."
        raise ChannelError(said, action="retry", code=f"media_{response.status}")
    if response.truncated:
        raise ChannelError(f"The file is larger than {max_bytes} bytes, so it was not fetched.", code="too_large")
    declared = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared == "text/html" and not media.filename.endswith((".html", ".htm")):
        said = f"{name}'s media server answered a page instead of the file."
        raise ChannelError(said, action="retry", code="media_page")
    mime = declared if declared not in ("", sniff.UNKNOWN) else sniff.mime_of(response.body, media.filename)
    return response.body, mime, media.filename or _named(mime)


def _named(mime: str) -> str:
    """Name a file after its type: none comes with a name but documents."""
    family, _, subtype = mime.partition("/")
    extension = sniff.extension_for(mime) or subtype.rpartition("-")[2].rpartition(".")[2]
    return f"{family if family in ('image', 'video', 'audio') else 'file'}.{extension or 'bin'}"
