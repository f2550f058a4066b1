"""Who asked to hear no more on a channel account (STOP), and has not asked to hear again since (START).

The mark lies in the conversation's `thread` under `opted_out`, as the address that asked: a person may have others.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from models import Conversation, db

MARK = "opted_out"


def note(conversation: Conversation, wish: str) -> None:
    """Keep a wish: `stop` sets the mark, `start` takes it from all of the person's conversations on that account."""
    if wish == "stop":
        conversation.thread = conversation.thread | {MARK: conversation.address}
    elif wish == "start":
        query = select(Conversation).where(
            Conversation.business_id == conversation.business_id,
            Conversation.customer_id == conversation.customer_id,
            Conversation.account_id == conversation.account_id,
            Conversation.thread[MARK].as_string() == conversation.address,
        )
        for marked in (conversation, *db.session.scalars(query)):
            marked.thread = {name: value for name, value in marked.thread.items() if name != MARK}


def of(business_id: UUID, customer_id: UUID) -> set[tuple[UUID, str]]:
    """List the account and the address of each mark of a customer."""
    mark = Conversation.thread[MARK].as_string()
    query = select(Conversation.account_id, mark).where(
        Conversation.business_id == business_id, Conversation.customer_id == customer_id, mark.is_not(None)
    )
    return {(account_id, address) for account_id, address in db.session.execute(query)}
