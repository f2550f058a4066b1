"""JSON whose bytes JavaScript's `JSON.stringify(JSON.parse(body))` gives back unchanged, and a strict way in.

Webhook bodies come from `dumps`; request bodies enter by `loads` and `check`, which refuse what cannot make that
journey. Nothing here knows what the documents mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

SAFE = 2**53 - 1  # Number.MAX_SAFE_INTEGER
MAX_DEPTH = 32

_LEAVES = frozenset({str, bool, type(None)})
_CONTAINERS = frozenset({dict, list, tuple})
_WATCHED = _CONTAINERS | {float}
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_DIGITS = bytes(ord("0") if 48 <= byte <= 57 else 32 for byte in range(256))
_RUN = b"0" * 19  # the shortest number that does not fit 64 bits has 19 digits
_STRING_OR_LONG = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]{19,})(?![0-9.eE])', re.DOTALL)


class BadJson(ValueError):
    """The bytes are no JSON document; `position` counts bytes from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at byte {position})")
        self.message, self.position = message, position


class NotPortable(ValueError):
    """JSON, but JavaScript or PostgreSQL would change or refuse it; `path` is written `customers[3].tags`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'the document'}: {reason}")
        self.path, self.reason = path, reason


def dumps(obj: Any) -> bytes:
    """Give the bytes that JavaScript would write for this document.

    A lone surrogate, which no UTF-8 holds, becomes U+FFFD. Raises `NotPortable` for NaN and numbers beyond a double,
    `TypeError` for anything that is not JSON (UUIDs are written as text).
    """
    plain = _plain(obj)
    try:
        return orjson.dumps(plain, option=_OPTIONS)
    except TypeError:
        return orjson.dumps(_scrubbed(plain), option=_OPTIONS)


def _plain(value: Any) -> Any:
    """Copy a document, with the numbers and the order of keys that JavaScript would give it."""
    kind = type(value)
    if kind is dict or isinstance(value, dict):
        copy = {key: item if type(item) in _LEAVES else _plain(item) for key, item in value.items()}
        for key in copy:
            if key < ":":  # sorts before it: digits, and little else that a key begins with
                return _indices_first(copy)
        return copy
    if kind is list or isinstance(value, (list, tuple)):
        return [item if type(item) in _LEAVES else _plain(item) for item in value]
    if kind in _LEAVES:
        return value
    if isinstance(value, int):
        return int(value) if -SAFE <= value <= SAFE else _long(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (str, UUID)):
        return str(value)
    raise TypeError(f"{kind.__name__} is not JSON")


def _float(value: float) -> Any:
    if not value.is_integer():
        if value - value != 0:
            raise NotPortable("", f"{value} is not a number that JSON can write")
        return orjson.Fragment(f"{Decimal(repr(value)):f}") if 1e-6 <= abs(value) < 1e-5 else value
    if -SAFE <= value <= SAFE:
        return int(value)  # 50000.0 → 50000, -0.0 → 0
    return value if abs(value) >= 1e21 else _long(value)


def _long(value: float) -> Any:
    """Write a whole number beyond 2^53 as the double that JavaScript reads it as."""
    try:
        double = float(value)
    except OverflowError:
        raise NotPortable("", "a whole number is too large for any JSON reader") from None
    return double if abs(double) >= 1e21 else orjson.Fragment(f"{Decimal(repr(double)):.0f}")


def _indices_first(value: dict[str, Any]) -> dict[str, Any]:
    """Put keys that are array indices first, in the order of their numbers, as every JavaScript object does."""
    indices = sorted(int(key) for key in value if _INDEX.fullmatch(key) and int(key) < 2**32 - 1)
    first = {str(index): value[str(index)] for index in indices}
    return first | {key: item for key, item in value.items() if key not in first}


def _scrubbed(value: Any) -> Any:
    """Join surrogate pairs held as two characters, and replace the lone ones."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return _indices_first({_scrubbed(key): _scrubbed(item) for key, item in value.items()})
    return [_scrubbed(item) for item in value] if isinstance(value, list) else value


def loads(raw: bytes) -> Any:
    """Read a request body; raise `BadJson` with the place. A key given twice keeps its last value."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise _bad(raw, exc) from None
    if _RUN in raw.translate(_DIGITS):
        for match in _STRING_OR_LONG.finditer(raw):
            if match[1] and not -(2**63) <= int(match[1][:21]) < 2**64:
                raise BadJson("a whole number is too large; send it as a string", match.start())
    return value


def _bad(raw: bytes, exc: orjson.JSONDecodeError) -> BadJson:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return BadJson("the bytes are not UTF-8", error.start)
    return BadJson(exc.msg, len(exc.doc[: exc.pos].encode()))


def check(obj: Any, *, max_depth: int = MAX_DEPTH) -> None:
    """Refuse, by `NotPortable`, a document that PostgreSQL or a JavaScript receiver could not keep as it is."""
    if not _looks_sound(obj, max_depth):
        for path, reason in _faults(obj, "", max_depth):
            raise NotPortable(path, reason)


def _looks_sound(obj: Any, max_depth: int) -> bool:
    """Clear a sound document in bulk, far faster than value by value; doubtful ones are left to `_faults`."""
    try:
        text = orjson.dumps(obj, option=orjson.OPT_STRICT_INTEGER | _OPTIONS)
    except TypeError:
        return False
    if b"\\u0000" in text or b'"__proto__"' in text or b'"constructor"' in text:
        return False
    level = [obj]
    for _ in range(max_depth):
        below = [item for box in level for item in _items(box) if type(item) in _WATCHED]
        if any(item - item != 0 for item in below if type(item) is float):
            return False
        level = [item for item in below if type(item) is not float]
        if not level:
            return type(obj) is not float or obj - obj == 0
    return False


def _items(box: Any) -> Iterable[Any]:
    return box.values() if type(box) is dict else box if type(box) in _CONTAINERS else ()


def _faults(value: Any, path: str, room: int) -> Iterator[tuple[str, str]]:
    """Name each fault and its place."""
    if isinstance(value, str):
        if reason := _text_fault(value):
            yield path, reason
    elif isinstance(value, float):
        if value - value != 0:
            yield path, "is not a finite number"
    elif isinstance(value, int):
        if not -SAFE <= value <= SAFE:
            yield path, "is a whole number beyond 2^53 - 1, which JavaScript would round; send it as a string"
    elif isinstance(value, (dict, list, tuple)):
        if room <= 0:
            yield path, "is nested too deep"
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from _key_faults(key, item, path)
                yield from _faults(item, f"{path}.{key}" if path else str(key), room - 1)
        else:
            for index, item in enumerate(value):
                yield from _faults(item, f"{path}[{index}]", room - 1)
    elif value is not None:
        yield path, f"is of a type ({type(value).__name__}) that JSON does not have"


def _key_faults(key: Any, item: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(key, str):
        yield path, "has a key that is not text"
    elif key == "__proto__":
        yield path, "has a key __proto__, which JavaScript receivers refuse"
    elif key == "constructor" and isinstance(item, dict) and "prototype" in item:
        yield path, "has a key constructor.prototype, which JavaScript receivers refuse"
    elif reason := _text_fault(key):
        yield path, f"has a key that {reason}"


def _text_fault(text: str) -> str:
    if "\0" in text:
        return "holds a NUL character"
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "holds half of a surrogate pair"
    return ""
