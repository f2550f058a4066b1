"""Attachments: uploaded by a caller or fetched from a provider, kept in the store, handed out again.

Called by the API, the inbox, the embed and the worker. The store's keys are random; a file's type is what its bytes
and its name agree on, never what somebody declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from html import escape, unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from flask import current_app
from sqlalchemy import and_, select

from errors import Invalid, NotFound, TooLarge, Unavailable, UnsupportedMedia
from lib import sniff, storage
from lib.ids import is_uuid
from models import Attachment, Business, Message, db
from services import payloads

DOWNLOAD_PATH = "/api/download-media"
PICTURE_LASTS = timedelta(hours=1)


def upload(business: Business, filename: str, data: bytes, declared: str = "") -> Attachment:
    """Keep an uploaded file; raise `UnsupportedMedia` for a type we do not take or bytes that contradict the name."""
    limit = current_app.extensions["settings"].upload_max_bytes
    if len(data) > limit:
        raise TooLarge(f"A file has at most {limit} bytes; this one has {len(data)}.", field="file")
    name = sniff.safe_filename(filename)
    if not sniff.extension(name) and (extension := sniff.extension_for(declared)):
        name = f"{name or 'file'}.{extension}"
    if refusal := sniff.refusal(data, name):
        raise UnsupportedMedia(refusal, field="file")
    return _keep(business.id, name, sniff.mime_of(data, name), data)


def get(business: Business, attachment_id: UUID) -> Attachment:
    attachment = db.session.get(Attachment, (business.id, attachment_id))
    if attachment is None or attachment.state == "erased":
        raise NotFound("There is no such file.", code="attachment_not_found")
    return attachment


def find(attachment_id: UUID) -> Attachment | None:
    """Find a file of any business: for links whose signature is what lets somebody in."""
    query = select(Attachment).where(Attachment.id == attachment_id, Attachment.state != "erased")
    return db.session.scalar(query)


def placed(html: str, message: Message) -> str:
    """Put links to a mail's own pictures where its HTML names them (`cid:`); what is no picture stays a name."""
    links = {
        file.source["content_id"]: escape(payloads.signed_link(file.id, PICTURE_LASTS))
        for file in message.attachments
        if file.state == "ready" and file.source.get("content_id") and sniff.inline_ok(file.mime)
    }
    return re.sub(r'(<img [^>]*?src=")cid:([^"]+)"', lambda tag: f'{tag[1]}{links.get(unescape(tag[2]), "")}"', html)


def usable(business: Business, references: Sequence[str]) -> list[Attachment]:
    """Give the uploads that a message names by id or `file_url`, held until the commit.

    One that an earlier message took is copied, so that erasing one customer takes no file from another.
    """
    ids = list(dict.fromkeys(_referred(place, reference) for place, reference in enumerate(references)))
    if not ids:
        return []
    message = and_(Message.business_id == Attachment.business_id, Message.id == Attachment.message_id)
    query = select(Attachment, Message.direction).outerjoin(Message, message)
    query = query.where(Attachment.business_id == business.id, Attachment.id.in_(ids)).order_by(Attachment.id)
    rows = db.session.execute(query.with_for_update(of=Attachment).execution_options(populate_existing=True))
    found = {attachment.id: attachment for attachment, direction in rows if direction != "inbound"}
    for place, attachment_id in enumerate(ids):
        if attachment_id not in found or found[attachment_id].state != "ready":
            raise _no_upload(place)
    return [found[item] if found[item].message_id is None else _copy(found[item]) for item in ids]


def read(attachment: Attachment) -> bytes:
    """Give the whole file."""
    data: bytes = _store().get(_key(attachment))
    return data


def stream(attachment: Attachment) -> Iterator[bytes]:
    """Give the file piece by piece; what is missing or unreachable is raised at once."""
    try:
        pieces: Iterator[bytes] = _store().chunks(_key(attachment))
    except storage.Missing:
        raise NotFound("This file is gone.", code="attachment_not_found") from None
    except storage.StorageError:
        raise Unavailable("The file store does not answer.", headers={"Retry-After": "5"}) from None
    return pieces


def _keep(business_id: UUID, name: str, mime: str, data: bytes) -> Attachment:
    key = storage.new_key(business_id)
    try:
        _store().put(key, data, mime)
    except storage.StorageError:
        raise Unavailable("The file store does not answer. Nothing was kept.", headers={"Retry-After": "5"}) from None
    attachment = Attachment(
        business_id=business_id, filename=name, mime=mime, size=len(data), state="ready", storage_key=key, source={}
    )
    db.session.add(attachment)
    db.session.flush()
    return attachment


def _copy(attachment: Attachment) -> Attachment:
    return _keep(attachment.business_id, attachment.filename, attachment.mime, read(attachment))


def _referred(place: int, reference: str) -> UUID:
    """Read an id or an address of ours; anything else is refused, whoever's it is."""
    if not is_uuid(reference):
        public = urlsplit(current_app.extensions["settings"].public_url)
        try:
            parts = urlsplit(reference)
            ours = (parts.scheme, parts.netloc, parts.path) == (public.scheme, public.netloc, DOWNLOAD_PATH)
            reference = parse_qs(parts.query)["id"][0] if ours else ""
        except (ValueError, KeyError):
            reference = ""
    if not is_uuid(reference):
        raise _no_upload(place)
    return UUID(reference)


def _no_upload(place: int) -> Invalid:
    return Invalid(
        "Attachments are the file_url or id of files uploaded with api-upload-attachment.",
        code="unknown_attachment",
        field=f"attachments[{place}]",
    )


def _key(attachment: Attachment) -> str:
    if attachment.storage_key is None:
        raise NotFound(attachment.error or "This file has not arrived yet.", code="attachment_not_ready")
    return attachment.storage_key


def _store() -> Any:
    return current_app.extensions["storage"]
