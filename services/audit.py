"""Who changed what in the settings. Called by the verbs that change them, in the change's own transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from models import AuditEntry, User, db


def note(business_id: UUID, action: str, by: Any, subject_id: object = "", **details: Any) -> None:
    """Keep one line; `by` is a `User`, a `keys.Caller`, or None for the system itself."""
    db.session.add(
        AuditEntry(
            business_id=business_id,
            actor_kind="user" if isinstance(by, User) else "api_key" if by else "system",
            actor_id=by.id if by else None,
            actor_name=by.name if by else "",
            action=action,
            subject_id=str(subject_id),
            details=details,
        )
    )
