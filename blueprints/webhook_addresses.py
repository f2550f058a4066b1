"""Which addresses a webhook may be saved with: the judgement of the outbound door, said while it can still be mended.

Shared by the API and the screens; the door judges again at every call.
"""

from __future__ import annotations

from flask import current_app

from errors import Invalid
from lib import fetch

_NEARBY = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def check(url: str, known: str = "") -> None:
    """Refuse an address that we would not call; what a name leads to is judged at every call, as it may change.

    `known` is the address that the webhook has already: one on plain http that was let in once may stay.
    """
    policy = fetch.Policy(networks=tuple(current_app.extensions["settings"].webhook_allowed_networks))
    if not url:
        raise Invalid("Enter the address that we shall post to.", field="url")
    try:
        target = fetch.check_url(url, policy)
        if target.host == "localhost" or target.host.endswith(".localhost"):
            fetch.check_url(f"http://127.0.0.1:{target.port}/", policy)
    except fetch.Refused as exc:
        raise _refused(str(exc)) from None
    if target.scheme == "http" and url != known and not _is_nearby(target.host):
        raise _refused("Use https:// for a public host: what we send is personal data.")


def _refused(sentence: str) -> Invalid:
    return Invalid(sentence, code="address_refused", field="url")


def _is_nearby(host: str) -> bool:
    if fetch.classify(host) is None:  # an address that anybody may have
        return False
    return "." not in host or host.endswith(_NEARBY) or host.rpartition(".")[2].isdigit()
