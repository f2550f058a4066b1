"""`POST /{PHONE_NUMBER_ID}/messages`: what it refuses, what it accepts, and what it will regret later.

200 means accepted only. Whether the message fails later (its fate) is decided here and told by `statuses`.
"""

from __future__ import annotations

from typing import Any

from sandbox import numbers
from sandbox.meta import graph
from sandbox.meta.errors import GraphError
from sandbox.store import Row
from sandbox.whatsapp import envelopes, media, people, rules, statuses
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import World

PAIR_BURST, PAIR_SECONDS = 45, 6.0


def post(world: World, account: Row) -> dict[str, Any]:
    """Answer one call of the messages endpoint."""
    body = graph.body()
    if body.get("messaging_product") != "whatsapp":
        raise GraphError(100, "The parameter messaging_product is required.")
    if "status" in body:
        return _mark_as_read(world, account, body)
    waba = world.store.thing("waba", account["data"]["waba"])
    kind, view = rules.check(body, waba["templates"])
    person = _recipient(world, account, body)
    if view.get("category") == "AUTHENTICATION" and not body.get("to"):
        raise GraphError(131062)
    unfit = media.attach(world, account, view)
    _spend(world, account, person)
    fault = world.faults.take("status", PROVIDER, account=account["id"], person=person["id"])
    fate = _fate(world, account, person, kind, view, fault.data if fault else {}, fault.kind if fault else "") or unfit
    id_ = envelopes.new_id(person)
    data: dict[str, Any] = {
        "request": body,
        "view": view,
        "fate": fate,
        "error": None,
        "history": [],
        "skip_delivered": bool(fault and fault.kind == "skip_delivered"),
        "silent": bool(fault and fault.kind == "no_statuses"),
    }
    world.store.put(
        "messages",
        provider=PROVIDER,
        account=account["id"],
        person=person["id"],
        id=id_,
        kind=kind,
        direction="from_business",
        status="accepted",
        at=world.clock.now(),
        data=data,
    )
    people.change(world, person, typing_until=0.0)
    statuses.start(world, id_)
    return _accepted(body, person, id_, kind)


def _accepted(body: dict[str, Any], person: Row, id_: str, kind: str) -> dict[str, Any]:
    message = {"id": id_, **({"message_status": "accepted"} if kind == "template" else {})}
    if body.get("to"):
        contact = {"input": body["to"], "wa_id": person["data"]["phone"] or person["id"]}
    else:
        contact = {"input": body["recipient"], "user_id": person["data"]["user_id"]}
    return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}


def _recipient(world: World, account: Row, body: dict[str, Any]) -> Row:
    """Find or make the recipient; a number without `+` may get our own country code, as the documentation warns."""
    to, recipient = rules.address(body)
    if not to:
        known = people.find(world, account, recipient)
        return known or people.make(world, account, user_id=recipient, on_whatsapp=False)
    number, own = numbers.digits(to), numbers.digits(account["data"]["display_phone_number"])
    if not to.startswith("+") and not number.startswith(numbers.calling_code(own)):
        number = numbers.calling_code(own) + number
    if number == own:
        raise GraphError(131021)
    return people.find(world, account, number) or people.make(world, account, phone=number)


def _spend(world: World, account: Row, person: Row) -> None:
    """Take a token of the number's rate and one of the pair's; refuse when there is none."""
    rate = float(account["data"]["messages_per_second"])
    if not world.rates.take(PROVIDER, account["id"], size=rate, per_second=rate):
        raise GraphError(130429)
    pair = (PROVIDER, account["id"], person["id"])
    if account["data"]["pair_limit"] and not world.rates.take(*pair, size=PAIR_BURST, per_second=1 / PAIR_SECONDS):
        raise GraphError(131056)


def _fate(
    world: World, account: Row, person: Row, kind: str, view: dict[str, Any], fault: dict[str, Any], trouble: str
) -> dict[str, Any] | None:
    """Say how the message will fail, or None."""
    if trouble == "failed_status":
        return {
            "code": int(fault.get("code", 131000)),
            "details": str(fault.get("details", "")),
            "title": str(fault.get("title", "")),
        }
    data = person["data"]
    unreachable = not data["on_whatsapp"] or data["blocked"] or len(data["phone"] or "1234567") < 7
    if trouble == "wrong_number_error" or unreachable:
        return {"code": 131026}
    if kind == "reaction":
        target = world.store.one("messages", provider=PROVIDER, account=account["id"], id=view["target"])
        if target is None or target["person"] != person["id"] or target["kind"] == "reaction":
            return {"code": 131009, "details": "The message to react to does not exist in this chat."}
    if view.get("category") == "MARKETING" and data["marketing_opt_out"]:
        return {"code": 131050}
    if kind != "template" and not people.window_left(world, person):
        return {"code": 131047}
    return None


def _mark_as_read(world: World, account: Row, body: dict[str, Any]) -> dict[str, Any]:
    """Mark a customer's message, and those before it, as read; show that somebody types, if asked."""
    id_ = rules.mark_as_read(body)
    row = world.store.one("messages", provider=PROVIDER, account=account["id"], id=id_, direction="from_customer")
    if row is None:
        raise GraphError(131009, f"Message ID {id_} is not a message that this number received.")
    world.store.query(
        "UPDATE messages SET status = 'read' WHERE provider = ? AND account = ? AND person = ? AND seq <= ? "
        "AND direction = 'from_customer'",
        PROVIDER,
        account["id"],
        row["person"],
        row["seq"],
    )
    person = people.find(world, account, row["person"])
    if person:
        until = world.clock.now() + 25 if "typing_indicator" in body else 0.0
        people.change(world, person, typing_until=until)
    return {"success": True}
