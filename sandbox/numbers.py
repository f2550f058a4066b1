"""What a phone number tells by its digits alone: its calling code, its country, and whether two are one person's.

Used by the rooms whose people have phone numbers. Never asks anybody whether a number exists.
"""

from __future__ import annotations

_TWO_DIGIT_CODES = frozenset(
    [
        "20",
        "27",
        "30",
        "31",
        "32",
        "33",
        "34",
        "36",
        "39",
        "40",
        "41",
        "43",
        "44",
        "45",
        "46",
        "47",
        "48",
        "49",
        "51",
        "52",
        "53",
        "54",
        "55",
        "56",
        "57",
        "58",
        "60",
        "61",
        "62",
        "63",
        "64",
        "65",
        "66",
        "81",
        "82",
        "84",
        "86",
        "90",
        "91",
        "92",
        "93",
        "94",
        "95",
        "98",
    ]
)
_COUNTRIES = {
    "1": "US", "7": "RU", "27": "ZA", "31": "NL", "32": "BE", "33": "FR", "34": "ES", "39": "IT", "41": "CH",
    "43": "AT", "44": "GB", "45": "DK", "46": "SE", "47": "NO", "48": "PL", "49": "DE", "52": "MX", "54": "AR",
    "55": "BR", "61": "AU", "64": "NZ", "81": "JP", "86": "CN", "90": "TR", "91": "IN", "234": "NG", "351": "PT",
    "353": "IE", "358": "FI", "971": "AE", "972": "IL",
}  # fmt: skip


def digits(value: object) -> str:
    """Keep the ASCII digits of a number."""
    return "".join(char for char in str(value or "") if char in "0123456789")


def calling_code(number: str) -> str:
    """Give the country calling code with which these digits start."""
    if number[:1] in {"1", "7"}:
        return number[:1]
    return number[:2] if number[:2] in _TWO_DIGIT_CODES else number[:3]


def country(number: str) -> str:
    """Give the ISO country of a number, `XX` for those that we do not know by heart."""
    return _COUNTRIES.get(calling_code(number), "XX")


def match_key(number: str) -> str:
    """Give a key that is equal for the spellings of one mobile number in Mexico, Argentina and Brazil."""
    if number.startswith("521") and len(number) == 13:
        return "52" + number[3:]
    if number.startswith("549") and len(number) == 13:
        return "54" + number[3:]
    if number.startswith("55") and len(number) == 13 and number[4] == "9":
        return number[:4] + number[5:]
    return number
