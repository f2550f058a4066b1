"""Emails and phone numbers in the one form by which people are found.

Whoever stores or looks up an address comes through here first. `ValueError` carries a sentence for the person who
typed it. Nothing here asks the network.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

import email_validator
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

# Reserved names (.test, .local, .invalid) live in real address books: sandboxes, offices, anonymised copies.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PLAIN_EMAIL = re.compile(r"[a-z0-9_+-]{1,64}(?:\.[a-z0-9_+-]{1,64}){0,9}@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,63}")
_SCHEME = re.compile(r"\s*(?:tel|sms|callto|whatsapp):", re.IGNORECASE)
_BEYOND_A_NUMBER = re.compile(r"[^\W\d]|[#*;,]")
_DIGITS = re.compile(r"\+?([0-9]{7,15})")

# Numbers that networks write in two ways: (form, the way to compare by).
_QUIRKS = (
    (re.compile(r"\+521([0-9]{10})"), r"+52\1"),  # Mexico: WhatsApp keeps the mobile 1 that was abolished in 2019
    (re.compile(r"\+549([0-9]{10})"), r"+54\1"),  # Argentina: 9 marks a mobile, for calls from abroad only
    (re.compile(r"\+55([0-9]{2})([6-9][0-9]{7})"), r"+55\g<1>9\2"),  # Brazil: WhatsApp keeps mobiles without their 9
    (re.compile(r"\+35348([0-9]{8})"), r"+4428\1"),  # Northern Ireland, as dialled from the Republic
)


def email(text: str) -> str:
    """Give the address to store and to compare: IDNA domain, NFC, only ASCII letters made lower-case.

    Python and PostgreSQL disagree on the case of other letters, so those stay as they are: `lower(x COLLATE "C")`
    is the identity on every result.
    """
    text = text.strip().translate(_LOWER)
    if len(text) <= 254 and _PLAIN_EMAIL.fullmatch(text) and _is_modest(text):
        return text
    try:
        found = email_validator.validate_email(text, check_deliverability=False)
    except email_validator.EmailNotValidError as exc:
        raise ValueError(str(exc)) from None
    address = f"{found.local_part}@{found.ascii_domain}".translate(_LOWER)
    if len(found.local_part.encode()) > 64 or len(address.encode()) > 254:
        raise ValueError("The email address is too long.")
    if address.rpartition(".")[2].isdigit():
        raise ValueError("The part after the @-sign is not the name of a domain.")
    return address


def _is_modest(text: str) -> bool:
    """Say whether a plain address keeps the limits that its pattern does not express."""
    local, _, domain = text.partition("@")
    return len(local) <= 64 and "xn--" not in domain and max(map(len, domain.split("."))) <= 63


@lru_cache(maxsize=8192)
def phone(text: str, region: str | None) -> str:
    """Give the number in E.164, read as somebody in this region (`IE`) would dial it.

    Extensions, words, short codes and numbers that no network has given out are refused, never guessed at.
    """
    bare = _SCHEME.sub("", text, count=1)
    if _BEYOND_A_NUMBER.search(bare):
        raise ValueError("Write the phone number alone, without words, letters or an extension.")
    try:
        number = phonenumbers.parse(bare, region)
    except NumberParseException as exc:
        if exc.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise ValueError("Write the phone number with + and a country code that exists.") from None
        raise ValueError("This is not a phone number.") from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise ValueError("No such phone number can exist. Check its digits, and write + and the country code first.")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def phone_from_digits(digits: str) -> str | None:
    """Give the E.164 number for a provider's bare digits (a WhatsApp id), or None if they are no such number.

    Send to the provider's own digits, never to this: see `phone_key` for what networks do to numbers.
    """
    match = _DIGITS.fullmatch(digits)
    if match is None:
        return None
    for form in ("+" + match[1], phone_key("+" + match[1])):
        try:
            return phone(form, None)
        except ValueError:
            continue
    return None


def phone_key(e164: str) -> str:
    """Give the text by which two ways of writing one number compare equal. Not a number to dial."""
    for form, key in _QUIRKS:
        if match := form.fullmatch(e164):
            return match.expand(key)
    return e164


@lru_cache(maxsize=8192)
def national(e164: str, region: str | None) -> str:
    """Write a number for somebody in this region to read; what is no number comes back as it is."""
    try:
        number = phonenumbers.parse(e164, None)
    except NumberParseException:
        return e164
    at_home = region is not None and number.country_code == phonenumbers.country_code_for_region(region)
    style = PhoneNumberFormat.NATIONAL if at_home else PhoneNumberFormat.INTERNATIONAL
    return phonenumbers.format_number(number, style)
