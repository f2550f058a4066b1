"""Twilio's REST API, the 2010 one: login, faults, then the resource that the path names; all else is 20404.

Requests: https://www.twilio.com/docs/usage/requests-to-twilio. Only JSON answers are served, so paths end in `.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, g, request

from sandbox import trouble
from sandbox.faults import Fault
from sandbox.store import Row
from sandbox.twilio import accounts, media, messages, people, rules, statuses
from sandbox.twilio.accounts import PROVIDER
from sandbox.twilio.errors import TwilioError
from sandbox.twilio.messages import SID, VERSION
from sandbox.world import World, world

blueprint = Blueprint("twilio", __name__)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_TROUBLE = {
    "rate_limit": 20429,
    "pair_rate_limit": 21611,
    "server_error": 20500,
    "unavailable": 20503,
    "expired_token": 20003,
}
Call = Callable[[World, str, list[Row], tuple[str, ...]], "tuple[Any, int] | Response"]


@blueprint.route(f"/{VERSION}/<path:rest>", methods=_METHODS)
def door(rest: str) -> Response:
    """Answer one call."""
    here = world()
    g.provider = PROVIDER
    sid = (re.match(r"Accounts/([^/.]+)", rest) or ["", ""])[1]
    rows = accounts.of_sid(here, sid)
    by_key = _login(sid, rows)
    g.account = rows[0]["id"]
    path, name, handlers, ids = _find(rest)
    if name == "account" and by_key:  # a standard key may do all but this
        raise TwilioError(20003)
    handler = handlers.get(request.method)
    if handler is None:
        raise TwilioError(20004) if path else TwilioError(20404, request.path)
    name = "list" if (name, request.method) == ("messages", "GET") else name
    facts = {"account": _meant(here, rows), "on": name}
    g.account = facts["account"]
    if fault := here.faults.take("before", PROVIDER, **facts):
        g.note = fault.kind
        return _strike(fault)
    if any(row["data"]["suspended"] for row in rows) and name != "account":
        raise TwilioError(20005)
    after = here.faults.take("after", PROVIDER, **facts)
    answer = _answer(handler(here, sid, rows, ids))
    if after:
        g.note = after.kind
        trouble.hold_up(here, after, answer)
    return answer


@blueprint.app_errorhandler(TwilioError)
def refuse(error: TwilioError) -> Response:
    """Write a refusal in the API's shape."""
    answer = _answer((error.body(), error.status))
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return answer


def _login(sid: str, rows: list[Row]) -> bool:
    """Check account SID with auth token, or an API key of the account (then True); raises 20003."""
    login = request.authorization
    user, word = (login.username, login.password) if login and login.type == "basic" else ("", "")
    for row in rows:
        data = row["data"]
        if user and (user, word) == (sid, data["auth_token"]):
            return False
        if user and (user, word) == (data["api_key_sid"], data["api_key_secret"]):
            return True
    raise TwilioError(20003)


def _find(rest: str) -> tuple[str, str, dict[str, Call], tuple[str, ...]]:
    for pattern, name, handlers in _ROUTES:
        if found := re.fullmatch(f"Accounts/AC[0-9a-f]{{32}}{pattern}", rest):
            return pattern, name, handlers, found.groups()
    return "", "", {}, ()


def _form() -> list[tuple[str, str]]:
    """Read the form; of any other body, JSON too, Twilio sees no field at all."""
    if request.mimetype != "application/x-www-form-urlencoded":
        return []
    return parse_qsl(request.get_data().decode("utf-8", "replace"), keep_blank_values=True)


def _meant(here: World, rows: list[Row]) -> str:
    """Say which of an account's senders a call is about, for its faults and the log."""
    try:
        return str(rules.sender(here, rows, dict(_form()))["id"])
    except TwilioError:
        return str(rows[0]["id"])


def _strike(fault: Fault) -> Response:
    """Answer with the trouble that was ordered, without doing anything."""
    if page := trouble.strike(fault):
        return page
    code = _TROUBLE.get(fault.kind) or int(fault.data.get("code", 20500))
    raise TwilioError(code, status=int(fault.data.get("status", 0)), message=str(fault.data.get("details", "")))


def _answer(content: tuple[Any, int] | Response) -> Response:
    if isinstance(content, Response):
        return content
    body, status = content
    if body is None:
        return Response("", status)
    answer = Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")
    answer.headers["Twilio-Concurrent-Requests"] = "1"
    return answer


# --- the resources; each is called with (world, account SID, its senders, the ids in the path) ---


def _account(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    del here, ids
    uri, data = f"/{VERSION}/Accounts/{sid}", rows[0]["data"]
    status = "suspended" if any(row["data"]["suspended"] for row in rows) else "active"
    return {
        "auth_token": data["auth_token"],
        "date_created": messages.moment(0),
        "date_updated": messages.moment(0),
        "friendly_name": data["verified_name"],
        "owner_account_sid": sid,
        "sid": sid,
        "status": status,
        "subresource_uris": {"messages": f"{uri}/Messages.json"},
        "type": "Full",
        "uri": f"{uri}.json",
    }, 200


def _create(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    del ids
    wanted = rules.check(here, rows, _form())
    person = people.make(here, wanted.account, wanted.to)
    fault = here.faults.take("status", PROVIDER, account=wanted.account["id"], person=person["id"])
    kind = fault.kind if fault else ""
    fate = {"wrong_number_error": 30005, "failed_status": int(fault.data.get("code", 30008)) if fault else 0}
    row = messages.put(
        here,
        wanted.account,
        person["id"],
        direction="outbound-api",
        status="accepted" if wanted.by_service else "queued",
        body=wanted.body,
        parts=wanted.parts,
        callback=wanted.callback,
        service=wanted.account["id"] if wanted.by_service else None,
        fate=fate.get(kind, 0),
        skip_delivered=kind == "skip_delivered",
        silent=kind == "no_statuses",
    )
    statuses.start(here, row["id"])
    return messages.resource(sid, row), 201


def _list(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    del ids
    return messages.page(here, sid, rows, request.args), 200


def _read(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    return messages.resource(sid, messages.find(here, rows, ids[0])), 200


def _redact(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    """Empty a text's body, which is the only change there is to one that is not scheduled."""
    row = _settled(messages.find(here, rows, ids[0]))
    if dict(_form()).get("Body") != "":
        raise TwilioError(20001)
    row["data"]["view"] = {"text": ""}
    row["data"]["updated"] = here.clock.now()
    here.store.update("messages", {"seq": row["seq"]}, data=row["data"])
    return messages.resource(sid, row), 200


def _delete(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    del sid
    row = _settled(messages.find(here, rows, ids[0]))
    here.store.delete("messages", seq=row["seq"])
    return None, 204


def _settled(row: Row) -> Row:
    if row["data"]["twilio"] in ("accepted", "queued", "sending"):
        raise TwilioError(20009)
    return row


def _parts(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    row = messages.find(here, rows, ids[0])
    listed = [_part(sid, row, part) for part in row["data"]["parts"] if "file" in part]
    uri = f"/{VERSION}/Accounts/{sid}/Messages/{row['id']}/Media.json?PageSize=50&Page=0"
    ends = {"first_page_uri": uri, "next_page_uri": None, "previous_page_uri": None, "uri": uri}
    return {"media_list": listed, "page": 0, "page_size": 50, "start": 0, "end": max(0, len(listed) - 1), **ends}, 200


def _part(sid: str, row: Row, part: media.Part) -> dict[str, Any]:
    uri = f"/{VERSION}/Accounts/{sid}/Messages/{row['id']}/Media/{part['sid']}.json"
    created = messages.moment(row["at"])
    return {
        "account_sid": sid,
        "content_type": part["mime"],
        "date_created": created,
        "date_updated": created,
        "parent_sid": row["id"],
        "sid": part["sid"],
        "uri": uri,
    }


def _named(here: World, rows: list[Row], ids: tuple[str, ...]) -> tuple[Row, media.Part, Row]:
    """Find a media object: the message, its part, the file; raises 20404."""
    row = messages.find(here, rows, ids[0])
    part = next((part for part in row["data"]["parts"] if part["sid"] == ids[1] and "file" in part), None)
    file = here.store.one("files", id=part["file"]) if part else None
    if part is None or file is None:
        raise TwilioError(20404, f"/Media/{ids[1]}")
    return row, part, file


def _read_part(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    row, part, _ = _named(here, rows, ids)
    return _part(sid, row, part), 200


def _send_on(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> Response:
    """Send whoever wants the bytes to the CDN."""
    del sid
    return Response("", 307, {"Location": media.url_of(here, _named(here, rows, ids)[2])})


def _drop_part(here: World, sid: str, rows: list[Row], ids: tuple[str, ...]) -> tuple[Any, int]:
    del sid
    here.store.delete_file(_named(here, rows, ids)[2])
    return None, 204


_MESSAGE, _MEDIA = rf"/Messages/({SID})", rf"/Messages/({SID})/Media/(ME[0-9a-f]{{32}})"
_ROUTES: tuple[tuple[str, str, dict[str, Call]], ...] = (
    (r"\.json", "account", {"GET": _account}),
    (r"/Messages\.json", "messages", {"POST": _create, "GET": _list}),
    (rf"{_MESSAGE}\.json", "message", {"GET": _read, "POST": _redact, "DELETE": _delete}),
    (rf"{_MESSAGE}/Media\.json", "media", {"GET": _parts}),
    (rf"{_MEDIA}\.json", "media", {"GET": _read_part, "DELETE": _drop_part}),
    (_MEDIA, "media", {"GET": _send_on, "DELETE": _drop_part}),
)
