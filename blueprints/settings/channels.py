"""Settings → Channels: the numbers, mailboxes and pages that customers write to. Connect, change, pause, disconnect.

What is tried out on one (check, test message, templates) is in `channel_trials`; the worker does all of it.
"""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, g, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens
from blueprints.settings import channel_forms, channel_trials
from errors import AppError, Invalid
from models import ChannelAccount, db
from services import account_checks, audit, channel_accounts

routes = Blueprint("channels", __name__, url_prefix="/settings/channels")

HERE = {"page": "channels", "active": "settings"}
MOST_NAME = 100


@routes.get("")
def index() -> str:
    return render_template(
        "settings/channels/list.html",
        accounts=channel_accounts.page(g.business),
        waiting=channel_accounts.waiting(g.business),
        kinds=[channel_accounts.channel(kind) for kind in channel_accounts.kinds()],
        states=channel_forms.STATES,
        has_sandbox=channel_forms.has_sandbox(),
        **HERE,
    )


@routes.get("/new/<kind>")
def new(kind: str) -> str:
    return _form(kind, None)


@routes.post("/new/<kind>")
def create(kind: str) -> str | tuple[str, int]:
    """Connect an account and say what to do at the provider; a verify token that we made is shown this once."""
    try:
        typed = channel_forms.read(kind, None)
        account = channel_accounts.connect(g.business, kind, _name(), typed)
    except AppError as problem:
        db.session.rollback()
        return _form(kind, None, problem), 422
    account_checks.ask(account)
    audit.note(g.business.id, "channel.connected", current_user, account.id, channel=kind, address=account.address)
    db.session.commit()
    return _setup(account, channel_accounts.made_token(account, typed))


@routes.get("/<uuid:account_id>")
def show(account_id: UUID) -> str:
    account = channel_accounts.get(g.business, account_id)
    return render_template("settings/channels/channel.html", **channel_trials.whole(account), **HERE)


@routes.get("/<uuid:account_id>/setup")
def setup(account_id: UUID) -> str:
    return _setup(channel_accounts.get(g.business, account_id))


@routes.get("/<uuid:account_id>/edit")
def edit(account_id: UUID) -> str:
    account = channel_accounts.get(g.business, account_id)
    return _form(account.kind, account)


@routes.post("/<uuid:account_id>/edit")
def change(account_id: UUID) -> Response | str | tuple[str, int]:
    account = channel_accounts.get(g.business, account_id)
    before = {"name": account.name, **account.config}
    try:
        typed = channel_forms.read(account.kind, account)
        channel_accounts.change(g.business, account, name=_name() or account.address, config=typed)
        after = {"name": account.name, **account.config}
        db.session.flush()
    except AppError as problem:
        db.session.rollback()
        account = channel_accounts.get(g.business, account_id)
        return _form(account.kind, account, problem), 422
    secret = {field.name for field in channel_accounts.channel(account.kind).fields if field.secret}
    fields = sorted({name for name in after if before.get(name) != after[name]} | (secret & typed.keys()))
    audit.note(g.business.id, "channel.changed", current_user, account.id, fields=fields)
    account_checks.ask(account)
    made = channel_accounts.made_token(account, typed) if "verify_token" in typed else None
    if made:
        db.session.commit()
        return _setup(account, made)
    return _done(account, "Saved; the credentials are being checked")


@routes.post("/<uuid:account_id>/state")
def set_state(account_id: UUID) -> Response:
    """Pause an account or let it go on."""
    account, wanted = channel_accounts.get(g.business, account_id), request.form.get("state")
    if wanted not in ("paused", "connected"):
        raise Invalid("A channel can be paused or resumed.", field="state")
    channel_accounts.change(g.business, account, paused=wanted == "paused")
    if wanted == "paused":
        account.state_reason = f"Paused by {current_user.name}."
    audit.note(g.business.id, "channel.changed", current_user, account.id, state=account.state)
    said = "is paused: messages wait" if wanted == "paused" else "sends again, what waited first"
    return _done(account, f"{account.name} {said}")


@routes.get("/<uuid:account_id>/disconnect")
def confirm_disconnection(account_id: UUID) -> str:
    return _disconnection(channel_accounts.get(g.business, account_id))


@routes.post("/<uuid:account_id>/disconnect")
def disconnect(account_id: UUID) -> Response | tuple[str, int]:
    """Disconnect an account, if its name was typed."""
    account = channel_accounts.get(g.business, account_id)
    if request.form.get("name", "").strip() != account.name:
        return _disconnection(account, Invalid(f"Type {account.name} to confirm.", field="name")), 422
    channel_accounts.disconnect(account)
    audit.note(g.business.id, "channel.disconnected", current_user, account.id, address=account.address)
    db.session.commit()
    session["said"] = f"{account.name} is disconnected"
    return screens.go("/settings/channels")


def _name() -> str:
    name = request.form.get("name", "").replace("\x00", "").strip()
    if len(name) > MOST_NAME or not name.isprintable():
        raise Invalid(f"A name has at most {MOST_NAME} characters, all of which can be seen.", field="name")
    return name


def _done(account: ChannelAccount, text: str) -> Response:
    db.session.commit()
    session["said"] = text
    return screens.go(f"/settings/channels/{account.id}")


def _disconnection(account: ChannelAccount, problem: AppError | None = None) -> str:
    return screens.page(
        "settings/channels/sheet.html",
        "settings/channels/_disconnect.html",
        account=account,
        channel=channel_accounts.channel(account.kind),
        provider=channel_forms.provider(account.kind),
        siblings=channel_accounts.siblings(account),
        waiting=channel_accounts.waiting(g.business).get(account.id, 0),
        problem=problem,
        part="disconnect",
    )


def _setup(account: ChannelAccount, made: str | None = None) -> str:
    return render_template("settings/channels/setup.html", **channel_trials.whole(account), made=made, **HERE)


def _form(kind: str, account: ChannelAccount | None, problem: AppError | None = None) -> str:
    channel = channel_accounts.channel(kind)
    return render_template(
        "settings/channels/form.html",
        channel=channel,
        account=account,
        name=request.form.get("name", account.name if account else ""),
        values=channel_forms.values(kind, account),
        secrets=channel_accounts.secrets_set(account) if account else set(),
        choices=channel_forms.CHOICES,
        has_sandbox=channel_forms.has_sandbox(),
        problem=problem and channel_forms.problem_of(problem, kind),
        **HERE,
    )
