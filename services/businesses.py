"""Businesses: make one, with what every row of it stands on; change its settings. Commands and Settings call this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import phonenumbers

from errors import Invalid, NotFound
from lib import frame_origins
from lib.ids import uuid7
from models import Business, BusinessClock, db
from services import audit

MAX_ORIGINS = 50


def create(name: str, *, region: str = "IE", timezone: str = "Europe/Dublin") -> Business:
    """Make a business and start its clock."""
    business = Business(
        id=uuid7(), name=_checked("name", name), default_region=region, timezone=timezone, embed_origins=[]
    )
    db.session.add(business)
    db.session.flush()
    db.session.add(BusinessClock(business_id=business.id))
    db.session.flush()
    return business


def find(name: str) -> Business | None:
    return db.session.query(Business).filter_by(name=name).order_by(Business.created_at).first()


def change(business: Business, fields: Mapping[str, Any], *, by: Any) -> list[str]:
    """Change what is said, give the names of what differs; raise `Invalid` naming the field."""
    checked = {name: _checked(name, value) for name, value in fields.items()}
    changed = {name: [getattr(business, name), value] for name, value in checked.items()}
    changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
    for name, (_, value) in changed.items():
        setattr(business, name, value)
    if changed:
        audit.note(business.id, "business.changed", by, business.id, **changed)
    return sorted(changed)


def regions() -> list[str]:
    """List the countries whose numbers we can read."""
    return sorted(phonenumbers.SUPPORTED_REGIONS)


@cache
def timezones() -> list[str]:
    """List the time zones by their names of a continent and a city."""
    named = (name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return [*sorted(named), "UTC"]


def _checked(name: str, value: Any) -> Any:
    try:
        return _CHECKS[name](value)
    except ValueError as exc:
        raise Invalid(str(exc), code="invalid_field", field=name) from None


def _name(value: str) -> str:
    if not value.strip() or len(value) > 200:
        raise ValueError("A business needs a name of 1 to 200 characters.")
    return value.strip()


def _region(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("Choose one of the listed countries.")
    return value


def _timezone(value: str) -> str:
    if value not in timezones():
        raise ValueError("Choose one of the listed time zones.")
    return value


def _crm_name(value: str) -> str:
    if len(value) > 60:
        raise ValueError("The CRM's name has at most 60 characters.")
    return " ".join(value.split())


def _record_url(value: str) -> str:
    text = value.strip()
    if text and (not text.startswith(("https://", "http://")) or "{external_id}" not in text or len(text) > 1000):
        raise ValueError("Write an address that starts with https:// and holds {external_id}.")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("The address must not hold spaces.")
    return text


def _origins(value: list[str]) -> list[str]:
    if len(value) > MAX_ORIGINS:
        raise ValueError(f"List at most {MAX_ORIGINS} pages.")
    found = []
    for text in value:
        try:
            found.append(frame_origins.normalise(text))
        except ValueError as exc:
            raise ValueError(f"{text[:80]}: {exc}.") from None
    return list(dict.fromkeys(found))


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "default_region": _region,
    "timezone": _timezone,
    "crm_name": _crm_name,
    "crm_record_url": _record_url,
    "embed_origins": _origins,
}


def first() -> Business:
    """Give the oldest business; raise `NotFound` where there is none yet."""
    business = db.session.query(Business).order_by(Business.created_at).first()
    if business is None:
        raise NotFound("There is no business yet. Make one with: flask business create NAME --admin-email E")
    return business
