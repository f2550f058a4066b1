"""Settings → Channels: what is tried out on an account. The worker asks the provider; the page asks for the result.

`channels` calls `whole` for what an account's page shows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, current_app, g, make_response, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

import jobs
from blueprints import forms, screens, sheets
from blueprints.settings import channel_forms
from errors import AppError, Invalid, NotFound, RateLimited
from lib import rate_limit
from models import ChannelAccount, Message, db, now
from services import account_checks, audit, channel_accounts, conversation_lists, customers, messages, templates

routes = Blueprint("channel_trials", __name__, url_prefix="/settings/channels")

PER_MINUTE = 20  # checks and test messages of one business
WAITS = 30  # seconds for templates to come, and for a test message to arrive
ADDRESSES = {"whatsapp": "phone", "sms": "phone", "email": "email"}
TEXT = "This is a test from À La Carte Chat."


def whole(account: ChannelAccount) -> dict[str, Any]:
    """Gather what the page of an account shows."""
    return health(account) | {
        "callback_url": channel_accounts.callback_url(account) + channel_accounts.channel(account.kind).paste_suffix,
        "provider": channel_forms.provider(account.kind),
        "secrets": channel_accounts.secrets_set(account),
        "choices": channel_forms.CHOICES,
        "people": _people(account),
        "plain_templates": [sheet for sheet in _sheets(account) if sheet.is_plain],
        "handle": ADDRESSES.get(account.kind),
        "problem": None,
        **_check(account),
        **_templates(account),
    }


def health(account: ChannelAccount) -> dict[str, Any]:
    ends = account.token_expires_at
    return {
        "account": account,
        "channel": channel_accounts.channel(account.kind),
        "states": channel_forms.STATES,
        "has_sandbox": channel_forms.has_sandbox(),
        "waiting": channel_accounts.waiting(g.business).get(account.id, 0),
        "token_days": (ends - now()).days if ends else None,
        "handshake": account_checks.look(account.id, "handshake"),
        "signature": account_checks.look(account.id, "signature"),
    }


@routes.get("/<uuid:account_id>/health")
def show_health(account_id: UUID) -> str:
    account = channel_accounts.get(g.business, account_id)
    return render_template("settings/channels/_health.html", **health(account))


@routes.get("/<uuid:account_id>/calls")
def show_calls(account_id: UUID) -> str:
    """Say whether the provider has called our address yet."""
    account = channel_accounts.get(g.business, account_id)
    provider = channel_forms.provider(account.kind)
    return render_template("settings/channels/_calls.html", **health(account), provider=provider)


@routes.post("/<uuid:account_id>/check")
def check(account_id: UUID) -> Response | str:
    """Let the worker ask the provider whether the credentials work."""
    account = channel_accounts.get(g.business, account_id)
    _take()
    account_checks.ask(account)
    db.session.commit()
    return _shown(account, "_check.html", **_check(account))


@routes.get("/<uuid:account_id>/check")
def show_check(account_id: UUID) -> Response:
    account = channel_accounts.get(g.business, account_id)
    found = _check(account)
    answer = make_response(_shown(account, "_check.html", **found))
    if found["check"] and found["check"]["state"] != "asked":
        answer.headers["HX-Trigger"] = "look-again"  # how the account fares has changed with it
    return answer


@routes.post("/<uuid:account_id>/templates")
def refresh_templates(account_id: UUID) -> Response | str:
    """Let the worker read the provider's templates anew."""
    account = channel_accounts.get(g.business, account_id)
    _take()
    jobs.run_later("greet_account", g.business.id, account.id)
    db.session.commit()
    return _shown(account, "_templates.html", **_templates(account, since=now()))


@routes.get("/<uuid:account_id>/templates")
def show_templates(account_id: UUID) -> Response | str:
    account = channel_accounts.get(g.business, account_id)
    return _shown(account, "_templates.html", **_templates(account, since=_since()))


@routes.post("/<uuid:account_id>/test")
def send_test(account_id: UUID) -> Response | str | tuple[str, int]:
    """Send a real message, to a customer of this account or to an address."""
    account = channel_accounts.get(g.business, account_id)
    try:
        _take()
        message = _send(account)
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        account, text = channel_accounts.get(g.business, account_id), problem.message
        text = text.partition(": ")[2] or text if problem.code == "invalid_field" else text
        return render_template("settings/channels/_sent.html", account=account, error=text[:1].upper() + text[1:]), 422
    if not screens.is_fragment():
        return screens.go(f"/inbox/all/c/{_number(message)}")
    return _sent(account, message)


@routes.get("/<uuid:account_id>/test/<uuid:message_id>")
def show_test(account_id: UUID, message_id: UUID) -> str:
    """Show how far a test message has come."""
    account = channel_accounts.get(g.business, account_id)
    message = messages.get(g.business, message_id)
    if message.account_id != account.id:
        raise NotFound("No message of this account has that id.", code="message_not_found")
    return _sent(account, message)


def _send(account: ChannelAccount) -> Message:
    message = messages.send(
        g.business,
        _recipient(account),
        channel=account.kind,
        account_id=account.id,
        subject="A test" if account.kind == "email" else None,
        sender=messages.Sender("user", current_user.id, current_user.name),
        **_content(account),
    )
    audit.note(g.business.id, "channel.tested", current_user, account.id, customer_id=str(message.customer_id))
    return message


def _content(account: ChannelAccount) -> dict[str, Any]:
    """Read what to send: an approved template with no gaps, or the text."""
    chosen = request.form.get("template", "")
    for sheet in _sheets(account) if chosen else ():
        if chosen == f"{sheet.name}|{sheet.language}":
            return {"template": messages.TemplateUse(sheet.name, sheet.language, {}, sheet.text({}))}
    return {"content": request.form.get("content", "").strip() or TEXT}


def _recipient(account: ChannelAccount) -> Any:
    """Find the chosen customer, or whoever has the address; somebody new becomes a customer."""
    handle, address = ADDRESSES.get(account.kind), request.form.get("address", "").strip()
    if handle and address:
        found = customers.find(g.business, **{handle: address})
        return found or customers.create(g.business, {"name": address, handle: address})[0]
    customer_id = forms.uuid("customer")
    if customer_id is None:
        raise Invalid("Choose who shall get the test.", field="customer")
    return customers.get(g.business, id=customer_id)


def _people(account: ChannelAccount) -> list[tuple[UUID, str, str]]:
    """List who wrote on this account lately: id, name and address."""
    rows, _ = conversation_lists.page(g.business, account_id=account.id, limit=30)
    found = {row.customer_id: (row.customer_id, row.customer.name, row.address) for row in reversed(rows)}
    return list(reversed(found.values()))


def _sheets(account: ChannelAccount) -> list[sheets.Sheet]:
    if not channel_accounts.channel(account.kind).limits.templates:
        return []
    return [sheets.sheet(item) for item in templates.page(g.business, account.id)]


def _check(account: ChannelAccount) -> dict[str, Any]:
    check = account_checks.look(account.id, "check")
    return {"check": check, "overdue": bool(check) and account_checks.is_overdue(check or {})}


def _templates(account: ChannelAccount, since: datetime | None = None) -> dict[str, Any]:
    """Give the templates with what they say; while those asked for at `since` may come, the page asks again."""
    known = templates.known(g.business, account.id) if channel_accounts.channel(account.kind).limits.templates else []
    synced = max((item.synced_at for item in known), default=None)
    failed = account.last_error_at if account.state == "attention" else None
    answered = since and any(at and at >= since for at in (synced, failed))
    return {
        "templates": [(item, sheets.sheet(item)) for item in known],
        "synced_at": synced,
        "since": since,
        "reading": bool(since) and not answered and (now() - (since or now())).total_seconds() < WAITS,
    }


def _sent(account: ChannelAccount, message: Message) -> str:
    young = (now() - message.created_at).total_seconds() < WAITS
    live = young and message.status in ("queued", "sending", "sent") and account.state == "connected"
    values = {"message": message, "number": _number(message), "live": live, "error": None}
    return render_template("settings/channels/_sent.html", account=account, **values)


def _number(message: Message) -> int:
    rows, _ = conversation_lists.page(g.business, account_id=message.account_id, customer_id=message.customer_id)
    return next(row.number for row in rows if row.id == message.conversation_id)


def _since() -> datetime | None:
    try:
        since = datetime.fromisoformat(request.args.get("since", "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return since if since.tzinfo else None


def _shown(account: ChannelAccount, fragment: str, **values: Any) -> Response | str:
    if not screens.is_fragment():
        return screens.go(f"/settings/channels/{account.id}")
    return render_template(f"settings/channels/{fragment}", **health(account), **values)


def _take() -> None:
    redis = current_app.extensions["redis"]
    if not rate_limit.take(redis, f"rate:{g.business.id}:channel-trials", PER_MINUTE).allowed:
        raise RateLimited(f"At most {PER_MINUTE} checks and tests a minute. Wait a moment and try again.")
