"""The mail room: a provider's SMTP and IMAP servers, and the customers' own mailboxes.

Floors, lowest first: accounts < mails < people < grammar < imap, smtp. The servers listen where `SANDBOX_SMTP_PORT` and
`SANDBOX_IMAP_PORT` say; `serve` starts them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.mail import accounts, imap, mails, people, smtp
from sandbox.mail.accounts import PROVIDER
from sandbox.world import Room, World

room = Room(
    provider=PROVIDER,
    label="Email",
    verbs={
        "accounts": accounts.declare,
        "forget": accounts.forget,
        "people": people.declare,
        "say": people.say,
        "raw": people.raw,
    },
    reads={"accounts": accounts.listed, "people": people.listed, "messages": people.read},
    resume=lambda world: None,
    business=accounts.business,
    customer=people.customer,
    chat=mails.chat,
    seen=mails.seen,
    new_person=people.new_person,
    gesture=people.gesture,
    address=("Address", "aoife@walsh.example, or empty for any"),
)


def serve(world: World, host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Start the servers that are wanted (`SMTP`, `IMAP`); give the ports that they listen on. Raises `OSError`."""
    servers = {"SMTP": smtp.serve, "IMAP": imap.serve}
    return {name: servers[name](world, host, port) for name, port in ports.items()}
