"""Read what an admin entered for a channel account, after the channel's own list of fields. Called by `normalise`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from channels.base import Field

LONGEST = 4096


def read(fields: Sequence[Field], config: Mapping[str, Any]) -> dict[str, str]:
    """Trim, complete and check each field; raise `ValueError("field: why")` for the first that is wrong."""
    names = {field.name for field in fields}
    for name in config:
        if name not in names:
            raise ValueError(f"{name}: no such setting; there are {', '.join(sorted(names))}")
    return {field.name: _read(field, config.get(field.name)) for field in fields}


def _read(field: Field, value: object) -> str:
    if value is not None and (not isinstance(value, str | int) or isinstance(value, bool)):
        raise ValueError(f"{field.name}: must be text")
    entered = str(value if value is not None else "").strip() or field.default
    if not entered and field.required:
        raise ValueError(f"{field.name}: {field.label} is missing")
    if len(entered) > LONGEST or not entered.isprintable():
        raise ValueError(f"{field.name}: is longer than {LONGEST} characters or holds characters that cannot be seen")
    if entered and field.choices and entered not in field.choices:
        raise ValueError(f"{field.name}: must be one of {', '.join(field.choices)}")
    if entered and field.pattern and not re.fullmatch(field.pattern, entered, re.ASCII):
        raise ValueError(f"{field.name}: {field.hint or 'does not look right'}")
    return entered
