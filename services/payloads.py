"""The JSON that we show: one function per noun, for API answers and webhook bodies alike.

Each takes a row (an ORM object or a plain row with the same names) and returns a dict. Asks the database for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from flask import current_app

from lib import signing


def time(value: datetime | None) -> str | None:
    """Write RFC 3339 in UTC with microseconds and `Z`."""
    if value is None:
        return None
    written = value.isoformat(timespec="microseconds")
    if written[26:] != "+00:00":  # what comes from the database is in UTC
        written = value.astimezone(UTC).isoformat(timespec="microseconds")
    return written[:26] + "Z"


def to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def customer(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "email": row.email,
        "phone": row.phone,
        "whatsapp_number": row.whatsapp_number,
        "external_id": row.external_id,
        "external_system": row.external_system,
        "external_ids": row.external_ids,
        "address": row.address,
        "notes": row.notes,
        "tags": row.tags,
        "custom_fields": row.custom_fields,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def user(row: Any) -> dict[str, Any] | None:
    return {"id": str(row.id), "name": row.name, "email": row.email} if row else None


def conversation(row: Any, assignee: Any = None) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "number": row.number,
        "customer_id": str(row.customer_id),
        "channel": row.channel,
        "channel_account_id": str(row.account_id),
        "whatsapp_account_id": str(row.account_id) if row.channel == "whatsapp" else None,
        "status": row.status,
        "subject": row.subject,
        "assignee": user(assignee),
        "tags": row.tags,
        "unread_count": row.unread_count,
        "snoozed_until": time(row.snoozed_until),
        "last_message_at": time(row.last_message_at),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def message(row: Any, attachments: Iterable[Any] | None = None) -> dict[str, Any]:
    """Give one message; leave `attachments` out (None) to leave them out of the answer."""
    shown = {
        "id": str(row.id),
        "conversation_id": str(row.conversation_id),
        "customer_id": str(row.customer_id),
        "content": row.content,
        "type": row.kind,
        "channel": row.channel,
        "platform": row.channel,
        "direction": row.direction,
        "status": "queued" if row.status == "sending" else row.status,
        "error": {"code": row.error_code, "message": row.error} if row.error else None,
        "reply_to": str(row.reply_to_id) if row.reply_to_id else None,
        "sender": {
            "type": row.sender_kind,
            "id": str(row.sender_id) if row.sender_id else None,
            "name": row.sender_name,
        },
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }
    if row.private:
        shown["private"] = True
    if attachments is not None:
        shown["attachments"] = [attachment(item) for item in attachments]
    return shown


def attachment(row: Any) -> dict[str, Any]:
    settings = current_app.extensions["settings"]
    file_url = f"{settings.public_url}/api/download-media?id={row.id}"
    link = signed_link(row.id)
    shown = {
        "id": str(row.id),
        "filename": row.filename,
        "type": row.mime,
        "size": row.size,
        "url": link,
        "file_url": file_url,
        "download_url": link,
    }
    if row.state != "ready":
        shown |= {"state": row.state, "error": row.error}
    return shown


def signed_link(attachment_id: Any, lasts: timedelta | None = None) -> str:
    """Give a download address that opens without a header until it expires, after `DOWNLOAD_URL_DAYS` by default.

    The expiry is rounded up to the hour, so that one hour's answers agree and caches can keep them.
    """
    settings = current_app.extensions["settings"]
    until = datetime.now(UTC) + (lasts or timedelta(days=settings.download_url_days)) + timedelta(hours=1)
    expires = int(until.replace(minute=0, second=0, microsecond=0).timestamp())
    signature = signing.link_signature(
        signing.derive(settings.secret_key, "download"), str(attachment_id), str(expires)
    )
    return f"{settings.public_url}/api/download-media?id={attachment_id}&exp={expires}&sig={signature}"


# --- what an event tells; nested and flat at once, since the guide's two receivers read one each ---


def message_event(
    row: Any, customer_row: Any, conversation_row: Any, attachments: Iterable[Any] = ()
) -> dict[str, Any]:
    files = [attachment(item) for item in attachments]
    shown = message(row)
    return {
        "message": shown,
        "customer": customer(customer_row),
        "conversation": conversation(conversation_row),
        "attachments": files,
        "message_id": shown["id"],
        "conversation_id": shown["conversation_id"],
        "customer_id": shown["customer_id"],
        "external_id": customer_row.external_id,
        "content": shown["content"],
        "channel": shown["channel"],
        "direction": shown["direction"],
        "status": shown["status"],
        "created_at": shown["created_at"],
    }


def conversation_event(row: Any, customer_row: Any, assignee: Any = None, **changed: Any) -> dict[str, Any]:
    shown = conversation(row, assignee)
    return {
        "conversation": shown,
        "customer": customer(customer_row),
        "conversation_id": shown["id"],
        "customer_id": shown["customer_id"],
        "external_id": customer_row.external_id,
        "channel": shown["channel"],
        "status": shown["status"],
        "assignee": shown["assignee"],
        "created_at": shown["created_at"],
    } | changed


def customer_event(row: Any, **changed: Any) -> dict[str, Any]:
    shown = customer(row)
    return {
        "customer": shown,
        "customer_id": shown["id"],
        "external_id": shown["external_id"],
        "created_at": shown["created_at"],
    } | changed
