"""The Message resource: how it is kept, how the API writes it, and how it is listed.

https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from sandbox.store import Row
from sandbox.twilio.accounts import PROVIDER
from sandbox.twilio.errors import TwilioError
from sandbox.twilio.media import Part
from sandbox.world import World

VERSION = "2010-04-01"
SID = r"[SM]M[0-9a-f]{32}"
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWO = frozenset("^{}\\[~]|€\f")


def put(
    world: World,
    account: Row,
    person: str,
    *,
    direction: str,
    status: str,
    body: str,
    parts: list[Part],
    sid: str = "",
    **facts: Any,
) -> Row:
    """Keep a message; `direction` is Twilio's word, as is `status` in the data. The row's own is the phone's."""
    now, inbound = world.clock.now(), direction == "inbound"
    number = account["data"]["from_number"]
    sender, to = (person, number) if inbound else (number, person)
    data: dict[str, Any] = {
        "view": {"text": body},
        "parts": parts,
        "from": sender,
        "to": to,
        "service": account["data"]["messaging_service_sid"] or None,
        "direction": direction,
        "twilio": status,
        "error": None,
        "callback": "",
        "delivery": None,
        "history": [],
        "updated": now,
        "sent": now if inbound else None,
        **facts,
    }
    seq = world.store.put(
        "messages",
        provider=PROVIDER,
        account=account["id"],
        person=person,
        id=sid or f"{'MM' if parts else 'SM'}{secrets.token_hex(16)}",
        direction="from_customer" if inbound else "from_business",
        kind=_kind(parts),
        status="sent" if inbound else "accepted",
        at=now,
        data=data,
    )
    world.live.changed((PROVIDER, account["id"], person))
    return world.store.get("messages", seq=seq)


def _kind(parts: list[Part]) -> str:
    if not parts:
        return "text"
    kind = str(parts[0].get("mime", "")).partition("/")[0]
    return kind if kind in ("image", "video", "audio") else "document"


def segments(text: str) -> int:
    """Count the parts of a text: 160 or 153 characters of GSM-7, 70 or 67 where one of them is beyond it."""
    if all(char in _GSM or char in _GSM_TWO for char in text):
        units, single, several = len(text) + sum(char in _GSM_TWO for char in text), 160, 153
    else:
        units, single, several = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if units <= single else -(-units // several)


def resource(sid: str, row: Row) -> dict[str, Any]:
    """Write a message as the API does."""
    data, uri = row["data"], f"/{VERSION}/Accounts/{sid}/Messages/{row['id']}"
    undecided = data["twilio"] == "accepted"  # the service has not chosen a sender yet
    return {
        "account_sid": sid,
        "api_version": VERSION,
        "body": data["view"].get("text", ""),
        "date_created": moment(row["at"]),
        "date_sent": moment(data["sent"]) if data["sent"] else None,
        "date_updated": moment(data["updated"]),
        "direction": data["direction"],
        "error_code": data["error"]["code"] if data["error"] else None,
        "error_message": data["error"]["title"] if data["error"] else None,
        "from": None if undecided else data["from"],
        "messaging_service_sid": data["service"],
        "num_media": str(len(data["parts"])),
        "num_segments": "0" if undecided else str(segments(data["view"].get("text", ""))),
        "price": None,
        "price_unit": None,
        "sid": row["id"],
        "status": data["twilio"],
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": data["to"],
        "uri": f"{uri}.json",
    }


def moment(at: float) -> str:
    """Write a time as the 2010 API does (RFC 2822)."""
    return format_datetime(datetime.fromtimestamp(int(at), UTC))


def find(world: World, accounts: list[Row], sid: str) -> Row:
    """Give a message of one of these senders; raises 20404."""
    row = world.store.one("messages", provider=PROVIDER, id=sid)
    if row is None or row["account"] not in {account["id"] for account in accounts}:
        raise TwilioError(20404, f"/Messages/{sid}.json")
    return row


def page(world: World, sid: str, accounts: list[Row], query: Mapping[str, str]) -> dict[str, Any]:
    """List messages, newest first: `To`, `From`, `DateSent` (also `<` and `>`), `PageSize`, `Page`."""
    ids = [account["id"] for account in accounts]
    sql = f"SELECT * FROM messages WHERE provider = ? AND account IN ({', '.join('?' * len(ids))}) ORDER BY seq DESC"
    rows = [row for row in world.store.query(sql, PROVIDER, *ids) if _fits(row, query)]
    size, number = _whole(query, "PageSize", 50, 1, 1000), _whole(query, "Page", 0, 0, 10**6)
    start, found = size * number, rows[size * number : size * (number + 1)]
    kept = {name: value for name, value in query.items() if name not in ("Page", "PageToken")} | {"PageSize": str(size)}

    def uri(page_: int) -> str:
        return f"/{VERSION}/Accounts/{sid}/Messages.json?{urlencode(kept | {'Page': str(page_)})}"

    return {
        "end": start + len(found) - 1 if found else start,
        "first_page_uri": uri(0),
        "messages": [resource(sid, row) for row in found],
        "next_page_uri": uri(number + 1) if len(rows) > start + size else None,
        "page": number,
        "page_size": size,
        "previous_page_uri": uri(number - 1) if number else None,
        "start": start,
        "uri": uri(number),
    }


def _whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    given = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,7}", given):
        raise TwilioError(20001, message=f"Invalid {name}: {given}")
    return max(low, min(int(given), high))


def _fits(row: Row, query: Mapping[str, str]) -> bool:
    data = row["data"]
    if query.get("To") not in (None, "", data["to"]) or query.get("From") not in (None, "", data["from"]):
        return False
    sent = data["sent"] or row["at"]
    for name in ("DateSent", "DateSent<", "DateSent>"):
        if given := query.get(name):
            first, last = _span(given)
            earliest = first if name != "DateSent<" else 0.0
            latest = last if name != "DateSent>" else float("inf")
            if not earliest <= int(sent) <= latest:
                return False
    return True


def _span(given: str) -> tuple[float, float]:
    """Read a day (all of it, in GMT) or a moment."""
    try:
        at = datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError:
        raise TwilioError(20001, message=f"Invalid DateSent: {given}") from None
    first = at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    return first, first + (86_399 if len(given) == 10 else 0)
