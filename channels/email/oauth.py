"""Access tokens of Google and Microsoft, from the refresh token that an admin entered; kept until they end.

https://developers.google.com/identity/protocols/oauth2/web-server#offline and
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#refresh-the-access-token
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from channels import endpoints, untrusted
from channels.base import ChannelError, Token
from lib import fetch

LASTS = timedelta(days=90)  # a refresh token of Microsoft's
SPARE = 120.0  # seconds before its end at which a token counts as ended
_MICROSOFT_SCOPES = (
    "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access"
)
_DEAD = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "interaction_required", "invalid_scope"})

_kept: dict[str, tuple[str, float]] = {}
_lock = Lock()


def token(config: Mapping[str, Any]) -> str:
    """Give an access token that lasts a while; raise `ChannelError`."""
    parts = (config["oauth"], config["client_id"], config["client_secret"], config["tenant"], config["refresh_token"])
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    with _lock:
        kept = _kept.get(key)
        if kept and kept[1] > time.monotonic():
            return kept[0]
    given = _ask(config)
    found = untrusted.text(given.get("access_token"))
    if not found:
        raise ChannelError("The sign-in service gave no access token.", action="retry", code="oauth")
    lasts = float(untrusted.text(given.get("expires_in")) or 3600)
    with _lock:
        _kept[key] = (found, time.monotonic() + lasts - SPARE)
    return found


def renewed(config: Mapping[str, Any]) -> Token | None:
    """Get a new refresh token in place of one that ends 90 days after it was made; None if there is none."""
    found = untrusted.text(_ask(config).get("refresh_token"))
    return Token({"refresh_token": found}, datetime.now(UTC) + LASTS) if found else None


def _ask(config: Mapping[str, Any]) -> dict[str, Any]:
    form = {
        "grant_type": "refresh_token",
        "client_id": config["client_id"],
        "refresh_token": config["refresh_token"],
    }
    if config["client_secret"]:
        form["client_secret"] = config["client_secret"]
    here = endpoints.current()
    url = f"{here.google_oauth_url}/token"
    if config["oauth"] == "microsoft":
        url = f"{here.microsoft_login_url}/{config['tenant']}/oauth2/v2.0/token"
        form["scope"] = _MICROSOFT_SCOPES
    try:
        answer = fetch.request(
            "POST",
            url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode(),
            timeout=20,
            policy=endpoints.policy(url),
        )
    except fetch.FetchError as error:
        raise ChannelError(f"The sign-in service did not answer: {error}", action="retry", code=error.kind) from None
    given = untrusted.load(answer.body)
    if answer.status == 200:
        return given
    code = untrusted.text(given.get("error")) or str(answer.status)
    said = untrusted.text(given.get("error_description")).partition("\r")[0][:300] or code
    dead = code in _DEAD or (answer.status in (400, 401) and code not in ("temporarily_unavailable", "server_error"))
    sentence = f"The sign-in service refuses the account: {said}"
    raise ChannelError(sentence, action="account" if dead else "retry", code=code)
