"""Trouble on order: what may go wrong, and how often it still will.

Armed through `/control/faults`, taken where the trouble happens. A fault is counted down when it strikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sandbox.errors import Refused
from sandbox.store import Row, Store

Place = Literal["before", "after", "callback", "status"]

KINDS: dict[str, tuple[Place, str]] = {
    "rate_limit": ("before", "the provider's answer for too many calls (WhatsApp: 429, code 130429)"),
    "pair_rate_limit": ("before", "too many messages to one person (WhatsApp: code 131056)"),
    "server_error": ("before", "a 500 in the provider's own error shape"),
    "server_error_html": ("before", "a 500 whose body is a proxy's HTML page"),
    "unavailable": ("before", "a 503 in the provider's own error shape"),
    "expired_token": ("before", "the access token has expired (Meta: 190/463)"),
    "error": ("before", "any error: give `code`, and `status`, `details` if you like"),
    "drop_before_accept": ("before", "the connection is cut before anything was done"),
    "timeout_after_accept": ("after", "done, but no answer for `seconds` (30), then the connection is cut"),
    "drop_after_accept": ("after", "done, then the connection is cut without an answer"),
    "slow": ("after", "done, and answered after `seconds` (2)"),
    "early_status": ("after", "the statuses are called back before the call is answered"),
    "duplicate_callbacks": ("callback", "the callback comes twice"),
    "reversed_callbacks": ("callback", "the next `times` callbacks are held for `seconds` (1) and come in reverse"),
    "delayed": ("callback", "the callback comes after `seconds` (2)"),
    "lost_callbacks": ("callback", "the callback never comes"),
    "bad_signature": ("callback", "the callback is signed with another secret"),
    "missing_signature": ("callback", "the callback has no signature"),
    "reserialised_signature": ("callback", "the signature is that of the same JSON written differently"),
    "wrong_number_error": ("status", "the message fails later (WhatsApp: 131026)"),
    "failed_status": ("status", "the message fails later with `code` (131000), `title` and `details`"),
    "skip_delivered": ("status", "read comes without delivered before it"),
    "no_statuses": ("status", "nothing is ever heard of the message"),
}


@dataclass(frozen=True)
class Fault:
    """One fault that strikes now; `remaining` is how often it will strike again."""

    id: int
    kind: str
    remaining: int
    data: dict[str, Any]

    def seconds(self, default: float) -> float:
        return float(self.data.get("seconds", default))


class Faults:
    """The armed faults, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def arm(self, provider: str, kind: str, times: int = 1, **data: Any) -> Row:
        """Arm a fault for the next `times` occasions; `account`, `person` and `on` narrow them down."""
        if kind not in KINDS:
            raise Refused(f"kind: no such fault; there are {', '.join(KINDS)}", code="unknown_fault")
        if not isinstance(times, int) or isinstance(times, bool) or times < 1:
            raise Refused("times: give a whole number from 1")
        id_ = self._store.put("faults", provider=provider, kind=kind, remaining=times, data=data)
        return self._store.get("faults", id=id_)

    def take(self, place: Place, provider: str, **facts: str) -> Fault | None:
        """Strike with the first armed fault of this place that fits, and count it down.

        A fault of a call fits the endpoint in its `on` (default `messages`; `*` is any, which `expired_token` is
        anyway).
        """
        for row in self._store.all("faults", provider=provider):
            if KINDS[row["kind"]][0] == place and _fits(row, facts):
                left = row["remaining"] - 1
                if left:
                    self._store.update("faults", {"id": row["id"]}, remaining=left)
                else:
                    self._store.delete("faults", id=row["id"])
                return Fault(row["id"], row["kind"], left, row["data"])
        return None


def _fits(row: Row, facts: dict[str, str]) -> bool:
    wanted = row["data"]
    if any(wanted.get(name) not in (None, facts.get(name)) for name in ("account", "person")):
        return False
    if "on" not in facts:
        return True
    on = wanted.get("on") or ("*" if row["kind"] == "expired_token" else "messages")
    return on in ("*", facts["on"])
