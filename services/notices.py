"""What an admin should know and can act on: shown on every screen until it is dismissed, or is no longer so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from errors import NotFound
from models import Business, Notice, db, now
from services import audit


def unread(business: Business, limit: int = 20) -> Sequence[Notice]:
    """List what nobody has dismissed yet, the newest first."""
    query = select(Notice).where(Notice.business_id == business.id, Notice.dismissed_at.is_(None))
    return db.session.scalars(query.order_by(Notice.id.desc()).limit(limit)).all()


def dismiss(business: Business, notice_id: UUID, by: Any) -> Notice:
    """Take a notice off the screens; doing it twice is doing it once."""
    notice = db.session.get(Notice, (business.id, notice_id))
    if notice is None:
        raise NotFound("No notice of this business has that id.", code="notice_not_found")
    if notice.dismissed_at is None:
        notice.dismissed_at = now()
        audit.note(business.id, "notice.dismissed", by, notice.id, text=notice.text)
    return notice


def clear(business_id: UUID, kind: str, subject_id: UUID) -> None:
    """Take back what was said of a thing that is well again, or gone."""
    about = (Notice.kind == kind, Notice.subject_id == subject_id, Notice.dismissed_at.is_(None))
    db.session.execute(update(Notice).where(Notice.business_id == business_id, *about).values(dismissed_at=now()))
