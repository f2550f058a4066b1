"""The connected numbers, mailboxes and pages of a business: connect, change, hold, and hand to a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson
from flask import current_app
from sqlalchemy import func, select, update

import channels
import jobs
from channels.base import Account, Token
from errors import Conflict, Invalid, NotFound
from lib import signing
from lib.ids import is_uuid
from models import Attachment, Business, ChannelAccount, Message, Notice, db, now, read
from services import notices

HOLD = "hold"  # in `config`, beside the settings: what is known of a hold that no check of the credentials ends
SOON = timedelta(minutes=5)  # a file that is looked at so soon may be under its lease, and needs no hurry
_CANNOT = "cannot send:"


def page(business: Business, *, kind: str | None = None) -> Sequence[ChannelAccount]:
    """List the accounts that are connected, held ones too."""
    query = select(ChannelAccount).where(
        ChannelAccount.business_id == business.id, ChannelAccount.disconnected_at.is_(None)
    )
    if kind:
        query = query.where(ChannelAccount.kind == kind)
    return db.session.scalars(query.order_by(ChannelAccount.created_at, ChannelAccount.id)).all()


def get(business: Business, account_id: UUID) -> ChannelAccount:
    account = db.session.get(ChannelAccount, (business.id, account_id))
    if account is None or account.disconnected_at:
        raise NotFound("No channel account of this business has that id.", code="channel_account_not_found")
    return account


def channel(kind: str) -> Any:
    """Give what a kind of account is: its label, its fields, its limits; for the edges, which know no channel."""
    return channels.get(kind)


def kinds() -> tuple[str, ...]:
    return channels.KINDS


def waiting(business: Business) -> dict[UUID, int]:
    """Count each account's messages that have yet to go out."""
    query = select(Message.account_id, func.count()).where(
        Message.business_id == business.id, Message.next_attempt_at.is_not(None), Message.status == "queued"
    )
    return dict(db.session.execute(query.group_by(Message.account_id)).all())


_CALLED = """
    SELECT business_id, id, kind, address, config, secrets, disconnected_at FROM channel_accounts
    WHERE id = %(id)s AND kind = %(kind)s"""
_LEFT = """
    SELECT business_id, id, kind, address, config, secrets FROM channel_accounts
    WHERE business_id = %(business_id)s AND kind = %(kind)s AND disconnected_at IS NULL ORDER BY created_at, id"""


def for_callback(kind: str, account_id: UUID) -> list[Any]:
    """Find who may answer at a callback address, whoever's it is: what `to_channel` needs of each.

    That is its own account. Once it is disconnected it is those of its kind that are left: a Meta app has one address
    for all of them, goes on calling it, and is cut off for all of them where nobody answers.
    """
    called = list(read(_CALLED, {"id": account_id, "kind": kind}))
    if not called or called[0].disconnected_at is None:
        return called
    return list(read(_LEFT, {"business_id": called[0].business_id, "kind": kind}))


def siblings(account: ChannelAccount) -> list[ChannelAccount]:
    """List the other accounts of its kind, which the provider may call at this one's address."""
    business = db.session.get_one(Business, account.business_id)
    return [one for one in page(business, kind=account.kind) if one.id != account.id]


def newest(kind: str, business: Business | None = None, *, named: str = "") -> ChannelAccount:
    """Find the account connected last, anybody's unless a business is given; `named` is its id, here or there."""
    query = select(ChannelAccount).where(ChannelAccount.kind == kind, ChannelAccount.disconnected_at.is_(None))
    if business:
        query = query.where(ChannelAccount.business_id == business.id)
    if named:
        ours = ChannelAccount.id == UUID(named) if is_uuid(named) else ChannelAccount.account_key == named
        query = query.where(ours)
    query = query.order_by(ChannelAccount.created_at.desc(), ChannelAccount.id.desc()).limit(1)
    account: ChannelAccount | None = db.session.scalar(query)
    if account is None:
        raise NotFound(f"No such {kind} account is connected.", code="channel_account_not_found")
    return account


def connect(business: Business, kind: str, name: str, config: Mapping[str, Any]) -> ChannelAccount:
    """Connect an account; what the admin entered is checked by the channel itself."""
    channel = channels.get(kind)
    settings = _normalise(channel, config)
    key = channel.account_key(settings)
    if any(account.account_key == key for account in page(business, kind=kind)):
        raise Conflict(f"{channel.label} {channel.address(settings)} is connected already.", code="already_connected")
    public, secret = _split(channel, settings)
    account = ChannelAccount(
        business_id=business.id,
        kind=kind,
        name=name or channel.address(settings),
        account_key=key,
        address=channel.address(settings),
        config=public,
        secrets=_seal(secret),
    )
    db.session.add(account)
    db.session.flush()
    jobs.run_later("greet_account", business.id, account.id)
    return account


def change(
    business: Business,
    account: ChannelAccount,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    paused: bool | None = None,
) -> None:
    """Change settings (secrets that are left out stay as they are) or pause and resume."""
    channel = channels.get(account.kind)
    if name:
        account.name = name
    if config:
        settings = _normalise(channel, _settings(account) | _secrets(account) | dict(config))
        public, secret = _split(channel, settings)
        account.account_key, account.address = channel.account_key(settings), channel.address(settings)
        if secret.get("access_token") != _secrets(account).get("access_token"):
            account.token_expires_at = None  # nobody knows it of the new one
        account.config, account.secrets = public, _seal(secret)
        release(account)
    if paused:
        account.state, account.state_reason = "paused", "Paused by an admin."
    elif paused is not None:
        resume(account)
    account.updated_at = now()


def disconnect(account: ChannelAccount) -> None:
    """Forget the secrets and take no more callbacks; conversations stay readable, and what waited fails."""
    notices.clear(account.business_id, "channel", account.id)
    account.state, account.state_reason = "disconnected", None
    account.disconnected_at, account.secrets = now(), _seal({})
    hurry(account)


def hurry(account: ChannelAccount) -> None:
    """Let the messages and files that wait on an account be looked at soon."""
    its_own = (Message.business_id == account.business_id, Message.account_id == account.id)
    due = update(Message).where(*its_own, Message.status == "queued", Message.next_attempt_at.is_not(None))
    db.session.execute(due.values(next_attempt_at=now()))
    in_it = (Message.business_id == Attachment.business_id, Message.id == Attachment.message_id)
    wanted = (Attachment.business_id == account.business_id, Attachment.state == "pending")
    files = update(Attachment).where(*wanted, Attachment.next_attempt_at > now() + SOON)
    its_files = files.where(select(Message.id).where(*its_own, *in_it).exists())
    db.session.execute(its_files.values(next_attempt_at=now()).execution_options(synchronize_session="fetch"))


def secrets_set(account: ChannelAccount) -> set[str]:
    """Name the secrets that an account has; what they are nobody is told."""
    return {name for name, value in _secrets(account).items() if value}


def made_token(account: ChannelAccount, typed: Mapping[str, Any]) -> str | None:
    """Give the verify token if it is ours and not what was typed: to be shown this once."""
    given = str(typed.get("verify_token") or "").strip()
    return None if given else _secrets(account).get("verify_token")


def to_channel(account: Any) -> Account:
    """Make the value object that a channel works with, secrets in clear."""
    return Account(
        id=str(account.id),
        business_id=str(account.business_id),
        kind=account.kind,
        address=account.address,
        config=_settings(account) | _secrets(account),
        callback_url=callback_url(account),
    )


def callback_url(account: Any) -> str:
    return f"{current_app.extensions['settings'].public_url}/callbacks/{account.kind}/{account.id}"


def hold(account: ChannelAccount, reason: str, *, by: Literal["check", "sending", "receipt"] = "check") -> None:
    """Stop sending on an account that the provider refuses; nothing fails, and the admins are told once.

    `by`: what was refused, and so what can end it. A check ends what a check finds; what only sending finds (or only a
    receipt, after the provider had taken the message), a later message must disprove (see `probes`).
    """
    db.session.flush()
    db.session.refresh(account, ["state"], with_for_update=True)  # of two that are refused at once, one tells
    account.last_error, account.last_error_at = reason, now()
    if account.state == "connected":
        account.state, account.state_reason = "attention", reason
        text = f"{account.name} ({account.address}) {_CANNOT} {reason}"
        db.session.add(Notice(business_id=account.business_id, kind="channel", subject_id=account.id, text=text))
        if by != "check":
            keep_doubt(account, {"by": by, "next": (now() + SOON).isoformat(), "wait": SOON.total_seconds()})
    elif account.state == "attention" and by == "check":
        account.state_reason = reason  # the credentials explain it, whatever found it first
        keep_doubt(account, None)
    elif account.state == "attention" and (doubt := account.config.get(HOLD)):
        found = "receipt" if "receipt" in (by, doubt["by"]) else by
        keep_doubt(account, doubt | {"by": found, "probe": None})


def keep_doubt(account: ChannelAccount, doubt: Mapping[str, Any] | None) -> None:
    """Keep what is known of a hold; under a lock, since the same column holds the settings that an admin may change."""
    db.session.flush()
    db.session.refresh(account, ["config"], with_for_update=True)
    if doubt or HOLD in account.config:
        account.config = _settings(account) | ({HOLD: dict(doubt)} if doubt else {})


def release(account: ChannelAccount) -> None:
    """Let a held account send again, what waited first, and take back what the admins were told."""
    if account.state == "attention":
        resume(account)


def resume(account: ChannelAccount) -> None:
    """Let an account send, whatever stopped it."""
    account.state, account.state_reason = "connected", None
    keep_doubt(account, None)
    about = (Notice.kind == "channel", Notice.subject_id == account.id, Notice.dismissed_at.is_(None))
    told = update(Notice).where(Notice.business_id == account.business_id, *about, Notice.text.contains(_CANNOT))
    db.session.execute(told.values(dismissed_at=now()))
    hurry(account)


def keep_token(account: ChannelAccount, token: Token) -> None:
    """Put a renewed credential in place of the old one."""
    account.secrets = _seal(_secrets(account) | dict(token.config))
    account.token_expires_at, account.updated_at = token.expires_at, now()


def touch(account: ChannelAccount, *, inbound: datetime | None = None, outbound: datetime | None = None) -> None:
    account.last_inbound_at = inbound or account.last_inbound_at
    account.last_outbound_at = outbound or account.last_outbound_at


def shows(account: ChannelAccount) -> dict[str, Any]:
    """Give the account as the API shows it: secrets are write-only."""
    return {
        "id": str(account.id),
        "channel": account.kind,
        "name": account.name,
        "address": account.address,
        "config": _settings(account),
        "state": account.state,
        "state_reason": account.state_reason,
        "callback_url": callback_url(account),
        "last_error": account.last_error,
    }


def _normalise(channel: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return channel.normalise(config)  # type: ignore[no-any-return]
    except ValueError as exc:
        field, _, why = str(exc).partition(": ")
        raise Invalid(f"{field}: {why}", code="invalid_field", field=f"config.{field}") from None


def _split(channel: Any, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    hidden = {field.name for field in channel.fields if field.secret}
    public = {name: value for name, value in settings.items() if name not in hidden}
    return public, {name: value for name, value in settings.items() if name in hidden}


def _settings(account: Any) -> dict[str, Any]:
    return {name: value for name, value in account.config.items() if name != HOLD}


def _secrets(account: Any) -> dict[str, Any]:
    return orjson.loads(signing.decrypt(current_app.extensions["settings"].secret_key, account.secrets))  # type: ignore[no-any-return]


def _seal(secrets: Mapping[str, Any]) -> str:
    return signing.encrypt(current_app.extensions["settings"].secret_key, orjson.dumps(secrets).decode())
