"""Businesses: make one, with what every row of it stands on. Operators' commands call this."""

from __future__ import annotations

from errors import Invalid
from lib.ids import uuid7
from models import Business, BusinessClock, db


def create(name: str, *, region: str = "IE", timezone: str = "Europe/Dublin") -> Business:
    """Make a business and start its clock."""
    if not name.strip() or len(name) > 200:
        raise Invalid("A business needs a name of 1 to 200 characters.", code="invalid_field", field="name")
    business = Business(id=uuid7(), name=name.strip(), default_region=region, timezone=timezone, embed_origins=[])
    db.session.add(business)
    db.session.flush()
    db.session.add(BusinessClock(business_id=business.id))
    db.session.flush()
    return business


def find(name: str) -> Business | None:
    return db.session.query(Business).filter_by(name=name).order_by(Business.created_at).first()
