"""What follows from a provider's refusal: one table for each channel, and the rules they share.

Called by the channels when a call fails, and for the failures that callbacks tell of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from channels.base import Action, ChannelError
from lib.fetch import FetchError


class Verdict(NamedTuple):
    """What follows, and the sentence for the agent or admin, where `{said}` stands for the provider's own words.

    `tries`: how often it is worth a retry, 0 without end.
    """

    action: Action
    sentence: str
    tries: int = 0
    unknown: bool = False  # the provider answers an error although the message may have gone


class Refusal(NamedTuple):
    """What a provider said when it did not do what was asked."""

    code: str = ""
    subcode: str = ""
    message: str = ""
    status: int = 0
    transient: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One provider's table. Keys are codes, or `code/subcode` where the second decides."""

    provider: str
    table: Mapping[str, Verdict]
    growing: frozenset[str] = frozenset()  # codes that want 4, 16, 64 … seconds

    def judge(self, refusal: Refusal) -> Verdict:
        """Decide by code and subcode, never by HTTP status or title while there is a code."""
        code, subcode = refusal.code, refusal.subcode
        found = self.table.get(f"{code}/{subcode}") or self.table.get(code)
        said = f": {refusal.message.rstrip('.')}" if refusal.message else ""
        if found:
            return found._replace(sentence=found.sentence.replace("{said}", said))
        said = said or " and does not say why"
        if refusal.transient or refusal.status >= 500 or not code:
            return Verdict("retry", f"{self.provider} could not take this now{said}.")
        return Verdict("permanent", f"{self.provider} refused this{said}{f' (error {code})' if code else ''}.")

    def refused(self, refusal: Refusal, *, once: bool, attempt: int = 1) -> ChannelError:
        """Make the error of a refusal. `once`: an answer that is not the provider's may hide that the message went."""
        verdict = self.judge(refusal)
        action: Action = verdict.action
        if action == "retry" and verdict.tries and attempt > verdict.tries:
            action = "permanent"
        wait = refusal.retry_after
        if refusal.code in self.growing:
            wait = max(wait or 0.0, float(4 ** min(attempt, 6)))
        garbled = not refusal.code and not 400 <= refusal.status < 500  # a proxy's page: it may have passed us on
        return ChannelError(
            verdict.sentence,
            action=action,
            code=(refusal.code if refusal.subcode in ("", "0") else f"{refusal.code}/{refusal.subcode}") or None,
            retry_after=wait,
            unknown=verdict.unknown or (once and garbled),
        )

    def unreached(self, error: FetchError, *, once: bool, blocked: Action = "account") -> ChannelError:
        """Make the error of a call that got no answer. `blocked`: what follows if our own door does not let it out."""
        if error.kind == "blocked":
            return ChannelError(f"This call is not allowed out: {error}", action=blocked, code="blocked")
        lost = once and error.sent
        sentence = f"{self.provider} did not answer: {error}"
        if lost:
            sentence = f"{self.provider} was asked to send this, but its answer was lost: it may have gone. ({error})"
        return ChannelError(sentence, action="retry", code=error.kind, unknown=lost)
