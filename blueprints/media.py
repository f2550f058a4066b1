"""Downloads: `/api/download-media`. A signed link lets anybody in until it expires; a bare id wants a key or a session.

Whatever a file says of itself, a browser runs nothing of it: it is saved, and only true pictures are shown in place.
"""

from __future__ import annotations

from itertools import chain
from time import time
from uuid import UUID

from flask import Blueprint, Response, current_app, request
from flask_login import current_user

from blueprints import guards
from errors import Forbidden, NotFound, Unauthenticated
from lib import signing, sniff
from lib.ids import is_uuid
from models import Attachment, Business
from services import attachments, keys

blueprint = Blueprint("media", __name__, url_prefix="/api")

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@blueprint.get("/download-media")
def download() -> Response:
    """Send a file."""
    attachment = _signed() if "sig" in request.args else _own()
    pieces = attachments.stream(attachment)
    first = next(pieces, b"")
    inline = sniff.inline_ok(attachment.mime, first)
    response = Response(chain((first,), pieces), content_type=attachment.mime if inline else _safe(attachment.mime))
    response.content_length = attachment.size
    response.headers["Content-Disposition"] = sniff.content_disposition(attachment.filename, inline)
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, max-age=3600"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _signed() -> Attachment:
    """Find the file of a signed link; only who can sign learns whether it is there."""
    file_id, expires, signature = (request.args.get(name, "") for name in ("id", "exp", "sig"))
    key = signing.derive(current_app.extensions["settings"].secret_key, "download")
    if not signing.link_matches(key, signature, file_id, expires):
        raise Forbidden("This link is not valid.", code="invalid_link")
    if int(expires) < time():
        raise Forbidden("This link has expired. Ask the API or the inbox for a new one.", code="expired_link")
    attachment = attachments.find(UUID(file_id))
    if attachment is None:
        raise NotFound("This file is gone.", code="attachment_not_found")
    return attachment


def _own() -> Attachment:
    """Find a file of the business that asks."""
    business, file_id = _asking(), request.args.get("id", "")
    if not is_uuid(file_id):
        raise NotFound("There is no such file.", code="attachment_not_found")
    return attachments.get(business, UUID(file_id))


def _asking() -> Business:
    """Say whose key or session this is."""
    if text := guards.sent_key():
        caller = keys.authenticate(text)
        keys.require(caller, "messages:read")
        return caller.business
    if current_user.is_authenticated:
        return current_user.business  # type: ignore[no-any-return]
    raise Unauthenticated("Send an API key, sign in, or use the file's download_url.", code="invalid_api_key")


def _safe(mime: str) -> str:
    """Name the type of a file that is only saved; nothing that a browser could run keeps its own."""
    runs = ("text/html", "application/xhtml", "image/svg", "text/xml", "application/xml", "text/javascript")
    return sniff.UNKNOWN if mime.startswith(runs) or not mime.isascii() or not mime.isprintable() else mime
