"""What `POST /Messages.json` refuses at once, in this order: recipient, sender, content, callback, rate, opt-out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from sandbox import numbers
from sandbox.store import Row
from sandbox.twilio import accounts, people
from sandbox.twilio.accounts import PROVIDER
from sandbox.twilio.errors import TwilioError
from sandbox.twilio.media import Part
from sandbox.world import World

LONGEST, MOST_FILES = 1600, 10
_E164 = r"\+[1-9][0-9]{6,14}"
_SENDER = re.compile(rf"{_E164}|[0-9]{{3,6}}|(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{{1,11}}")
_NO_NAMES = ("US", "CA")  # countries where a sender must be a number
Form = Sequence[tuple[str, str]]


class Wanted(NamedTuple):
    """A message that may be sent."""

    account: Row
    to: str
    body: str
    parts: list[Part]
    callback: str
    by_service: bool


def check(world: World, rows: list[Row], form: Form) -> Wanted:
    """Check a message of one of these senders; raises the first `TwilioError` that Twilio would answer."""
    given = dict(form)
    to = given.get("To", "").strip()
    if not to:
        raise TwilioError(21604)
    if not re.fullmatch(_E164, to):
        raise TwilioError(21211, to)
    account = sender(world, rows, given)
    _check_way(account["data"], to)
    links = [value for name, value in form if name == "MediaUrl"]
    _check_content(given, links)
    callback = given.get("StatusCallback", "")
    if callback and not accounts.is_address(callback):
        raise TwilioError(21609, callback)
    if links and not account["data"]["mms"]:
        raise TwilioError(21612, to)
    rate = float(account["data"]["messages_per_second"])
    if not world.rates.take(PROVIDER, account["id"], size=max(rate, 1.0), per_second=rate):
        raise TwilioError(20429)
    person = people.find(world, account, to)
    if person and person["data"]["opted_out"]:
        raise TwilioError(21610)
    if person and person["data"]["landline"]:
        raise TwilioError(21614, to)
    parts: list[Part] = [{"sid": f"ME{secrets.token_hex(16)}", "link": link} for link in links]
    return Wanted(account, to, given.get("Body", ""), parts, callback, bool(given.get("MessagingServiceSid")))


def sender(world: World, rows: list[Row], given: dict[str, str]) -> Row:
    """Find the sender that a form names, by `MessagingServiceSid` or `From`."""
    service, number = given.get("MessagingServiceSid", ""), given.get("From", "").strip()
    if not service and not number:
        raise TwilioError(21603)
    if service:
        found = next((row for row in rows if row["id"] == service), None)
        if found is None:
            raise TwilioError(21701, service)
        if found["data"]["empty_pool"]:
            raise TwilioError(21703)
        if number not in ("", found["data"]["from_number"]):
            raise TwilioError(21659, number)
        return found
    if not _SENDER.fullmatch(number):
        raise TwilioError(21212, number)
    ours = sorted((row for row in rows if row["data"]["from_number"] == number), key=lambda row: row["id"] != number)
    if ours:
        return ours[0]
    elsewhere = world.store.all("accounts", provider=PROVIDER)
    raise TwilioError(21660 if any(row["data"]["from_number"] == number for row in elsewhere) else 21659, number)


def _check_way(data: dict[str, Any], to: str) -> None:
    number = data["from_number"]
    if not data["sms"]:
        raise TwilioError(21606, number)
    if number == to:
        raise TwilioError(21266, to)
    if re.search("[A-Za-z]", number) and numbers.country(numbers.digits(to)) in _NO_NAMES:
        raise TwilioError(21612, to)


def _check_content(given: dict[str, str], links: list[str]) -> None:
    if not links and not given.get("Body", "").strip():
        raise TwilioError(21602 if "Body" in given else 21619)
    if len(given.get("Body", "")) > LONGEST:
        raise TwilioError(21617)
    if len(links) > MOST_FILES:
        raise TwilioError(21623)
    if bad := [link for link in links if not accounts.is_address(link)]:
        raise TwilioError(21620, ", ".join(bad))
