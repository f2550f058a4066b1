"""What became of messages that we sent. A status only rises; one that comes before its message waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select, update

import channels
import jobs
from channels.base import Account, Receipt
from lib.ids import is_uuid
from models import ChannelAccount, Conversation, Customer, Message, ParkedReceipt, ProviderId, db, now
from services import changes, channel_accounts, events, opt_outs, parts, payloads

RANK = {"queued": 0, "sending": 0, "unknown": 0, "sent": 1, "failed": 1, "delivered": 2, "read": 3}
UNDER_WAY = ("queued", "sending")  # whether a watermark means these is known only when their calls are answered
UNSETTLED = (*UNDER_WAY, "unknown")  # some of their calls are still to be made or answered, whatever the others became
_taken_at = func.coalesce(Message.provider_at, Message.sent_at)  # by the provider's clock, which an echo tells


def apply(account: ChannelAccount, receipt: Receipt) -> None:
    """Apply one receipt; unknown messages park it, repeats and stragglers change nothing."""
    if receipt.watermark:
        _keep_watermark(account, receipt)
        for message in db.session.scalars(_up_to(account, receipt).with_for_update(skip_locked=True)).all():
            _hear(message, receipt.status, receipt.at)
    elif named := _named(account, receipt):
        _apply_to(account, named, receipt)
    elif receipt.provider_id:
        _park(account, receipt)


def apply_parked(message: Message, provider_id: str) -> None:
    """Apply what came before we knew which message it meant."""
    query = select(ParkedReceipt).where(
        ParkedReceipt.provider_id == provider_id,
        ParkedReceipt.business_id == message.business_id,
        ParkedReceipt.account_id == message.account_id,
    )
    for parked in db.session.scalars(query.order_by(ParkedReceipt.id)):
        told = parked.receipt
        if "change" in told:
            changes.apply_to(message, changes.from_plain(told["change"]))
        elif message.direction == "outbound":
            account = db.session.get_one(ChannelAccount, (message.business_id, message.account_id))
            _apply_to(account, message, Receipt(**told | {"at": datetime.fromisoformat(told["at"])}))
        db.session.delete(parked)


def _apply_to(account: ChannelAccount, message: Message, receipt: Receipt) -> None:
    part = receipt.provider_id
    if parts.is_earlier(message, part):
        return
    new = bool(part and receipt.message_id and parts.remember(message, [part]))
    if new and receipt.status == "failed" and message.status == "queued" and message.attempts == 0:
        parts.set_apart(message, [part])  # a person tries again what was lost, and this is what became of that
        return
    _take(message, receipt.extra)
    if receipt.status == "failed":
        why = receipt.error or "The provider could not deliver it."
        if receipt.action == "account":
            channel_accounts.hold(account, why, by="receipt")
        fail(message, receipt.error_code, why, part=part)
        return
    if new and message.status == "unknown":
        go_on(message)
    _hear(message, receipt.status, receipt.at, part=part)
    for other in _with_those_before(message, receipt.status) if receipt.and_before else ():
        _hear(other, receipt.status, receipt.at)


def _hear(message: Message, status: str, at: datetime, *, part: str | None = None) -> None:
    """Raise a message, or keep the news of a part until the rest has gone."""
    if message.status in UNSETTLED:
        _keep_times(message, status, at)
    else:
        advance(message, status, at=at, part=part)


def _keep_times(message: Message, status: str, at: datetime) -> None:
    if RANK[status] >= RANK["delivered"]:
        message.delivered_at = message.delivered_at or at
    if status == "read":
        message.read_at = message.read_at or at


def _take(message: Message, extra: Mapping[str, Any]) -> None:
    """Keep what a message costs or what delays it; if one call of several is billed, the message is."""
    told = {name: value for name, value in extra.items() if value and value != message.extra.get(name)}
    message.extra = message.extra | told
    if told.get("billable") or told.get("delayed"):  # which a screen shows
        message.updated_at = now()
        events.append(message.business_id, "message.changed", message=message)


def go_on(message: Message) -> None:
    """Send what is still missing of a message whose answer was lost, which is nothing if that was its only call."""
    message.status, message.next_attempt_at, message.updated_at = "queued", now(), now()
    message.error = message.error_code = None
    events.append(message.business_id, "message.changed", message=message)
    jobs.ring("messages")


def catch_up(message: Message) -> None:
    """Apply what was told before we knew that all of this message went, and when the provider took it."""
    if message.status in UNSETTLED:
        return
    for status, at in (("read", message.read_at), ("delivered", message.delivered_at)):
        if at:
            advance(message, status, at=at)
    if message.provider_at is None:
        return
    kept = _locked(_conversation_of(message))
    for status in ("delivered", "read"):
        until = kept.thread.get(f"{status}_until") if kept else None
        if until and message.provider_at <= datetime.fromisoformat(until):
            advance(message, status, at=now())


def advance(message: Message, status: str, *, at: datetime, part: str | None = None) -> None:
    """Raise a message to `sent`, `delivered` or `read`; each implies the ones before it.

    One that failed is raised when all parts that failed have arrived after all, and by no other part.
    """
    if message.status == "failed":
        if RANK[status] < RANK["delivered"] or not parts.arrived(message, part):
            return
    elif RANK[status] <= RANK[message.status]:
        return
    first = message.sent_at is None
    message.sent_at = message.sent_at or at
    _keep_times(message, status, at)
    if message.status in ("failed", "unknown") and message.error:
        message.extra = message.extra | {"earlier_error": {"code": message.error_code, "message": message.error}}
    message.status, message.next_attempt_at, message.updated_at = status, None, now()
    message.error, message.error_code = None, None
    if first:
        tell(message, "message.sent")
    if status != "sent" or not first:
        tell(message, "message.status_changed")


def fail(message: Message, code: str | None, why: str, *, part: str | None = None) -> None:
    """Give a message up, unless it has arrived after all.

    `part` is the id of the call that failed, or "" if others went and it did not: one of several fails the whole.
    """
    if RANK[message.status] >= RANK["delivered"] and len(parts.ids_of(message)) < 2:
        return
    if part is not None:
        parts.failed(message, part, *([""] if message.status == "queued" else []))  # what is still to go will not
    if message.status == "failed":
        return
    message.status, message.next_attempt_at, message.updated_at = "failed", None, now()
    message.error_code, message.error = code, why
    if code in channels.get(message.channel).opt_out_codes:
        opt_outs.note(db.session.get_one(Conversation, (message.business_id, message.conversation_id)), "stop")
    tell(message, "message.status_changed")


def to_show(business_id: UUID, conversation_id: UUID) -> tuple[Account, str, str] | None:
    """Find what to tell the provider so that the customer sees their last message as read."""
    of_conversation = (Message.business_id == Conversation.business_id, Message.conversation_id == Conversation.id)
    of_message = (ProviderId.business_id == Message.business_id, ProviderId.message_id == Message.id)
    query = (
        select(Conversation, ProviderId.value)
        .join(Message, and_(*of_conversation))
        .join(ProviderId, and_(*of_message))
        .where(
            Conversation.business_id == business_id,
            Conversation.id == conversation_id,
            Message.direction == "inbound",
        )
        .order_by(Message.created_at.desc())
        .limit(1)
    )
    row = db.session.execute(query).first()
    account = db.session.get(ChannelAccount, (business_id, row[0].account_id)) if row else None
    if row is None or account is None or account.state != "connected":
        return None
    return channel_accounts.to_channel(account), row[0].address, row[1]


def tell(message: Message, kind: str) -> None:
    """Append an event about a message as it stands when the transaction settles."""
    key = message.business_id
    customer = db.session.get_one(Customer, (key, message.customer_id))
    conversation = db.session.get_one(Conversation, (key, message.conversation_id))
    files = message.attachments

    def data() -> dict[str, Any]:
        return payloads.message_event(message, customer, conversation, files)

    events.append(key, kind, data, message=message)


def _named(account: ChannelAccount, receipt: Receipt) -> Message | None:
    message_id = _message_id(account, receipt)
    if message_id is None:
        return None
    query = _outbound(account.business_id, account.id).where(Message.id == message_id)
    found: Message | None = db.session.scalar(query.with_for_update())
    return found


def _outbound(business_id: UUID, account_id: UUID) -> Select[Message]:
    return select(Message).where(
        Message.business_id == business_id, Message.account_id == account_id, Message.direction == "outbound"
    )


def _lower(status: str) -> list[str]:
    """List what a message may stand at for this status to raise it, once its calls are answered."""
    return [name for name, rank in RANK.items() if rank < RANK[status] and name not in UNDER_WAY]


def _conversations(account: ChannelAccount, address: str | None) -> Select[Conversation]:
    return select(Conversation).where(
        Conversation.business_id == account.business_id,
        Conversation.account_id == account.id,
        Conversation.address == address,
    )


def _up_to(account: ChannelAccount, receipt: Receipt) -> Select[Message]:
    """Find all to a person that the provider took up to the watermark."""
    to_person = _conversations(account, receipt.person).with_only_columns(Conversation.id)
    return _outbound(account.business_id, account.id).where(
        Message.conversation_id.in_(to_person),
        _taken_at <= receipt.watermark,
        Message.status.in_(_lower(receipt.status)),
    )


def _with_those_before(message: Message, status: str) -> list[Message]:
    """Find what went to the same person before a message, and keep how far they have come for what is under way."""
    until = message.provider_at or message.sent_at
    if until is None:
        return []
    query = _outbound(message.business_id, message.account_id).where(
        Message.conversation_id == message.conversation_id,
        _taken_at <= until,
        Message.id != message.id,
        Message.status.in_(_lower(status)),
    )
    _keep(_conversation_of(message), status, until)
    return list(db.session.scalars(query.with_for_update(skip_locked=True)))


# A watermark is kept with the conversation's row locked, and a message is caught up under the same lock, so none falls
# between the two. Who holds that lock never waits for a message: one that is locked catches up by itself.


def _keep_watermark(account: ChannelAccount, receipt: Receipt) -> None:
    """Keep how far a person has come, for a message of which we do not know yet that it went."""
    if receipt.watermark:
        latest = _conversations(account, receipt.person).order_by(Conversation.last_message_at.desc()).limit(1)
        _keep(latest, receipt.status, receipt.watermark)


def _conversation_of(message: Message) -> Select[Conversation]:
    return select(Conversation).where(
        Conversation.business_id == message.business_id, Conversation.id == message.conversation_id
    )


def _locked(query: Select[Conversation]) -> Any:
    """Lock a conversation and read what is kept with it, past what this transaction has not written yet."""
    columns = (Conversation.business_id, Conversation.id, Conversation.thread)
    return db.session.execute(query.with_only_columns(*columns).with_for_update()).first()


def _keep(query: Select[Conversation], status: str, until: datetime) -> None:
    kept, name = _locked(query), f"{status}_until"
    before = kept.thread.get(name) if kept else None
    if kept and (before is None or datetime.fromisoformat(before) < until):
        this = (Conversation.business_id == kept.business_id, Conversation.id == kept.id)
        written = update(Conversation).where(*this).values(thread=kept.thread | {name: until.isoformat()})
        db.session.execute(written, execution_options={"synchronize_session": False})


def _message_id(account: ChannelAccount, receipt: Receipt) -> UUID | None:
    known = db.session.get(ProviderId, (account.business_id, account.id, receipt.provider_id))
    if known:
        return known.message_id
    # Our own id comes back with the status where the provider allows it, before we may have saved the provider's.
    return UUID(receipt.message_id) if receipt.message_id and is_uuid(receipt.message_id) else None


def _park(account: ChannelAccount, receipt: Receipt) -> None:
    shown = asdict(receipt) | {"at": receipt.at.isoformat(), "watermark": None, "extra": dict(receipt.extra)}
    row = ParkedReceipt(
        business_id=account.business_id, account_id=account.id, provider_id=receipt.provider_id or "", receipt=shown
    )
    db.session.add(row)
