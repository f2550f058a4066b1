"""The customers' phones, in a browser: try the whole product without one provider account.

Shared by all rooms: a room says who is who and what a gesture means, this module draws it and keeps it live.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, send_file, url_for
from werkzeug.wrappers import Response as AnyResponse

from sandbox import look
from sandbox.errors import Refused
from sandbox.faults import KINDS
from sandbox.store import Row
from sandbox.world import Room, Upload, World, world

blueprint = Blueprint("phone", __name__)
HEARTBEAT = 2.0  # a closed page is noticed by then
_INLINE = ("image/jpeg", "image/png", "image/gif", "image/webp", "audio/", "video/")
_PEOPLE = """
SELECT people.*,
    max(CASE WHEN kind != 'reaction' AND status NOT IN ('failed', 'accepted') THEN seq END) AS last,
    count(CASE WHEN direction = 'from_business' AND status = 'delivered' THEN 1 END) AS unread
FROM people LEFT JOIN messages ON messages.provider = people.provider AND messages.account = people.account
    AND messages.person = people.id
WHERE people.provider = ? AND people.account = ?
GROUP BY people.id ORDER BY max(seq) DESC, people.rowid DESC LIMIT 40
"""
OFFERED = ("rate_limit", "server_error_html", "drop_after_accept", "expired_token", "wrong_number_error",
           "duplicate_callbacks", "delayed", "bad_signature")  # fmt: skip


@blueprint.get("/")
def index() -> str:
    """Show the accounts, the people who know them, and the traffic."""
    here = world()
    return render_template("index.html", accounts=_accounts(here), exchanges=here.log.page(limit=40), here=here)


@blueprint.get("/phone/<provider>/<account>/<person>")
def phone(provider: str, account: str, person: str) -> str:
    """Show one customer's phone."""
    here = world()
    room = here.room(provider)
    customer = room.customer(here, account, person)
    room.seen(here, account, customer["id"])
    return render_template(
        "phone.html",
        here=here,
        now=here.clock.now(),
        room=room,
        account=account,
        business=room.business(here, account),
        customer=customer,
        messages=look.rows(room.chat(here, account, customer["id"]))[-200:],
        accounts=_accounts(here),
        exchanges=here.log.page(limit=12, account=account),
        faults=[(kind, KINDS[kind][1]) for kind in OFFERED],
        armed=here.store.all("faults", provider=provider),
    )


@blueprint.post("/phone/<provider>/<account>/new")
def new(provider: str, account: str) -> AnyResponse:
    """Make a new customer and show their phone."""
    here = world()
    person = here.room(provider).new_person(
        here, account, request.form.get("name", ""), request.form.get("address", "")
    )
    return redirect(url_for(".phone", provider=provider, account=account, person=person), 303)


@blueprint.post("/phone/<provider>/<account>/<person>/say")
def say(provider: str, account: str, person: str) -> AnyResponse:
    """Do what was done on the phone: write, attach, tap a button, react."""
    here = world()
    room = here.room(provider)
    room.customer(here, account, person)  # or 404
    file = request.files.get("file")
    upload = Upload(file.filename or "file", file.mimetype or "", file.stream) if file and file.filename else None
    body = room.gesture(request.form.to_dict())
    if upload or body.get("text") != "":
        room.verbs["say"](here, {**body, "account": account, "person": person, "wait": False}, upload)
    return redirect(url_for(".phone", provider=provider, account=account, person=person), 303)


@blueprint.post("/phone/<provider>/<account>/<person>/set")
def change(provider: str, account: str, person: str) -> AnyResponse:
    """Turn one of the phone's switches, or close and open its window."""
    here, form = world(), request.form
    room = here.room(provider)
    switches = {one["name"] for one in room.customer(here, account, person)["switches"]}
    if form.get("name") == "window":
        facts: dict[str, Any] = {"window": form.get("value")}
    elif form.get("name") in switches:
        facts = {form["name"]: form.get("value") == "on"}
    else:
        raise Refused("name: there is no such switch")
    room.verbs["people"](here, {"account": account, "person": person, **facts}, None)
    return redirect(url_for(".phone", provider=provider, account=account, person=person), 303)


@blueprint.post("/phone/<provider>/<account>/<person>/fault")
def fault(provider: str, account: str, person: str) -> AnyResponse:
    """Arm one fault for this account."""
    here = world()
    here.faults.arm(provider, request.form.get("kind", ""), account=account)
    here.live.changed((provider, account, person))
    return redirect(url_for(".phone", provider=provider, account=account, person=person), 303)


@blueprint.get("/phone/<provider>/<account>/<person>/live")
def live(provider: str, account: str, person: str) -> Response:
    """Tell an open phone that its chat changed; while it listens, the chat counts as open."""
    here = world()
    room = here.room(provider)
    id_ = room.customer(here, account, person)["id"]
    return _stream(here, (provider, account, id_), room)


@blueprint.get("/phone/live")
def live_index() -> Response:
    """Tell an open overview that something changed."""
    return _stream(world(), None, None)


@blueprint.get("/phone/files/<id_>")
def file(id_: str) -> Response:
    """Give a file to the phone; only pictures, sounds and films are shown, the rest is saved."""
    here = world()
    row = here.store.one("files", id=id_)
    if row is None:
        raise Refused("This file is gone", code="not_found", status=404)
    inline = row["mime"].startswith(_INLINE)
    return send_file(here.store.path_of(row), mimetype=row["mime"] if inline else "application/octet-stream",
                     as_attachment=not inline, download_name=row["name"] or "file", conditional=True)  # fmt: skip


def _stream(here: World, chat: tuple[str, str, str] | None, room: Room | None) -> Response:
    def events() -> Iterator[str]:
        with here.live.watch(chat) as watcher:
            if chat and room:
                room.seen(here, chat[1], chat[2])
            yield "retry: 1000\n\n"
            while True:
                yield "data: changed\n\n" if watcher.wait(HEARTBEAT) else ": still here\n\n"

    return Response(events(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


def _accounts(here: World) -> list[dict[str, Any]]:
    """List the accounts with the people who know them, those who wrote last first."""
    return [
        {
            "room": here.rooms[row["provider"]],
            "id": row["id"],
            **here.rooms[row["provider"]].business(here, row["id"]),
            "people": [_summary(here, person) for person in here.store.query(_PEOPLE, row["provider"], row["id"])],
        }
        for row in here.store.all("accounts")
        if row["provider"] in here.rooms
    ]


def _summary(here: World, person: Row) -> dict[str, Any]:
    """Say in a line who somebody is, what was said last, and how much is unread."""
    known = here.rooms[person["provider"]].customer(here, person["account"], person["id"])
    last = here.store.one("messages", seq=person["last"])
    message = {**last["data"]["view"], "type": last["kind"], "direction": last["direction"]} if last else None
    return {**known, "last": message, "at": last["at"] if last else None, "unread": person["unread"]}
