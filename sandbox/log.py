"""The log of every call that came in and every callback that went out, with what was answered.

The last few thousand are kept. Secrets are not hidden in it: they are as made up as everything else here.
"""

from __future__ import annotations

from sandbox.clock import Clock
from sandbox.store import Row, Store

KEPT = 1000
BODY = 16_384


class Log:
    """Write and read the exchanges."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def record(
        self,
        direction: str,
        provider: str,
        account: str,
        method: str,
        url: str,
        *,
        request: str | bytes,
        status: int | None,
        answer: str | bytes,
        ms: float,
        note: str = "",
    ) -> None:
        """Add one exchange; `direction` is `in` (they called us) or `out` (we called them)."""
        id_ = self._store.put(
            "exchanges",
            at=self._clock.now(),
            direction=direction,
            provider=provider,
            account=account,
            method=method,
            url=url,
            request=_readable(request),
            status=status,
            answer=_readable(answer),
            ms=round(ms),
            note=note,
        )
        if id_ % 100 == 0:
            self._store.query("DELETE FROM exchanges WHERE id <= ?", id_ - KEPT)

    def page(self, *, limit: int = 100, after: int = 0, **where: str) -> list[Row]:
        """List the newest exchanges, newest first; `where` holds column values."""
        wanted = {name: value for name, value in where.items() if value}
        conditions = "".join(f" AND {name} = ?" for name in wanted)
        sql = f"SELECT * FROM exchanges WHERE id > ?{conditions} ORDER BY id DESC LIMIT ?"
        return self._store.query(sql, after, *wanted.values(), limit)


def _readable(body: str | bytes) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return text if len(text) <= BODY else f"{text[:BODY]}… ({len(text)} characters)"
