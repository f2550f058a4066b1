"""What came into a mailbox since we last looked: each mail as a `Callback`, with how far the mailbox is read by then.

The worker's mail part keeps both in one transaction. When a server numbers its mails anew (UIDVALIDITY), what came
since the account was connected is looked through again, and what is known by its Message-ID is left where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from channels.base import Account, Callback
from channels.contract import Box
from channels.email import servers
from lib.fetch import imap
from lib.fetch.servers import MailRefusal
from lib.letters import words

MIB = 1024 * 1024
BEGINNING = 256 * 1024  # bytes that are fetched of a mail which is too large
AT_ONCE = 100  # mails whose sizes are asked for at once
IDLE = 9 * 60.0  # seconds; servers may hang up after 29 minutes, and routers forget us before

Known = Callable[[Sequence[str]], set[str]]
Position = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mailbox(Box):
    """A mailbox while we are connected to it."""

    account: Account
    folder: imap.Mailbox
    known: Known

    def news(self, position: Position) -> Iterator[tuple[Callback | None, dict[str, Any]]]:
        """Give each mail after a position, and the position behind it.

        A position holds the mailbox (`place`, `uidvalidity`), how far it is read (`uid`), and up to where it is looked
        through for what came `since` a time (`until`).
        """
        at = self._here(position)
        if at.get("uidvalidity") != self.folder.uidvalidity:
            at |= {"uidvalidity": self.folder.uidvalidity, "uid": 0, "until": self.folder.uidnext - 1}
        if at["uid"] < at["until"]:
            for uid, size, when in self._unknown(at):
                at["uid"] = uid
                yield self._callback(uid, size, when), dict(at)
            at["uid"] = at["until"]
            yield None, dict(at)
        for uid, size, when in self._sized(self.folder.after(at["uid"])):
            at["uid"] = uid
            yield self._callback(uid, size, when), dict(at)

    def _here(self, position: Position) -> dict[str, Any]:
        """Take a position for this very mailbox; of another one that an admin chose, the last day is looked through."""
        config = self.account.config
        place = f"{config['user'] or config['address']}@{config['imap_host']}/{config['folder']}"
        if position.get("place", place) == place:
            return {**position, "place": place}
        yesterday = datetime.now(UTC) - timedelta(days=1)
        return {"since": max(yesterday, datetime.fromisoformat(position["since"])).isoformat(), "place": place}

    def wait(self, stopping: Callable[[], bool]) -> None:
        self.folder.wait(IDLE, float(self.account.config["poll_seconds"]), stopping)

    def _unknown(self, at: Position) -> Iterator[tuple[int, int, datetime]]:
        """List what came since the account was connected, but for what we have."""
        since = datetime.fromisoformat(at["since"])
        uids = [uid for uid in self.folder.since((since - timedelta(days=1)).date()) if at["uid"] < uid <= at["until"]]
        for start in range(0, len(uids), AT_ONCE):
            chosen = uids[start : start + AT_ONCE]
            named = {uid: words.ids(raw)[:1] for uid, raw in self.folder.message_ids(chosen).items()}
            known = self.known([one for found in named.values() for one in found])
            new = [uid for uid in chosen if not known.intersection(named.get(uid, []))]
            yield from (one for one in self._sized(new) if one[2] >= since)

    def _sized(self, uids: Sequence[int]) -> Iterator[tuple[int, int, datetime]]:
        for start in range(0, len(uids), AT_ONCE):
            facts = self.folder.facts(uids[start : start + AT_ONCE])
            yield from ((uid, size, when or datetime.now(UTC)) for uid, (size, when) in sorted(facts.items()))

    def _callback(self, uid: int, size: int, when: datetime) -> Callback | None:
        config = self.account.config
        most = int(config["max_mb"]) * MIB
        url = f"imap://{config['imap_host']}/{quote(config['folder'])};UIDVALIDITY={self.folder.uidvalidity}/;UID={uid}"
        headers = envelope(config) | {"received": when.astimezone(UTC).isoformat()}
        try:
            mail = self.folder.mail(uid, most if size <= most else BEGINNING)
        except MailRefusal as refusal:  # this one alone: the next may be had
            mail, headers["refused"] = b"", refusal.said
        if mail is None:
            return None
        if size > most:
            headers["size"] = str(size)
        return Callback("IMAP", url, headers, {}, mail)


def envelope(config: Mapping[str, Any]) -> dict[str, str]:
    """Say with a mail what parsing it must know of its account."""
    return {"account": config["address"], "authserv": config["authserv_id"]}


@contextmanager
def opened(account: Account, known: Known) -> Iterator[Mailbox]:
    """Connect to an account's mailbox; raise `ChannelError`, also for what fails while it is open."""
    config = account.config
    with servers.refusals():
        most = int(config["max_mb"]) * MIB
        with imap.opened(servers.imap(config), servers.imap_login(config), config["folder"], most=most) as folder:
            yield Mailbox(account, folder, known)
