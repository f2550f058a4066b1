"""What WhatsApp, Messenger and Instagram share: the handshake, the signature, the Graph API and how it refuses.

Called by those three channels. Knows no message type.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from channels import endpoints, untrusted
from channels.base import BadSignature, Callback, ChannelError, File, Reply
from channels.verdicts import Refusal, Verdict, Verdicts
from lib import fetch

MIB = 1024 * 1024
MEDIA_HOSTS = ("fbsbx.com", "fbcdn.net", "cdninstagram.com")
USER_AGENT = "ALaCarteChat/1.0"  # without one, the media host may answer with an error page
VERDICTS = {  # of the Graph API itself, the same for every channel
    "100/appsecret_proof": Verdict("account", "The app secret is not that of the app which the access token is for."),
    "2635": Verdict("account", "Meta has retired this version of its API; the operator must set a newer one."),
}
CALL_SECONDS, UPLOAD_SECONDS, DOWNLOAD_SECONDS = 20.0, 120.0, 60.0


def handshake(callback: Callback, config: Mapping[str, Any]) -> Reply:
    """Echo Meta's challenge as plain text (as HTML it would be a hole) if it knows our verify token."""
    query, expected = callback.query, str(config.get("verify_token") or "")
    known = hmac.compare_digest(query.get("hub.verify_token", "").encode(), expected.encode())
    if query.get("hub.mode") == "subscribe" and expected and known and query.get("hub.challenge"):
        return Reply(body=query["hub.challenge"])
    return Reply(status=403, body="The verify token is not the one of this channel.")


def verify(callback: Callback, app_secrets: Sequence[str]) -> None:
    """Check `X-Hub-Signature-256` over the raw bytes against each secret; raise `BadSignature`."""
    given = callback.headers.get("x-hub-signature-256", "").encode()
    if not given:
        raise BadSignature("The X-Hub-Signature-256 header is missing.")
    wanted = (f"sha256={_hmac(secret, callback.body)}".encode() for secret in app_secrets if secret)
    if not any(hmac.compare_digest(given, each) for each in wanted):
        raise BadSignature("The signature does not fit the body and the app secret.")


def _hmac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Graph:
    """The Graph API, as one account may use it. Every call raises `ChannelError` by the channel's verdicts."""

    base: str
    version: str
    token: str
    secret: str
    verdicts: Verdicts
    attempt: int = 1

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self._call("GET", path, query)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, once: bool = False, **query: str
    ) -> dict[str, Any]:
        """Post JSON. `once`: a customer sees the effect, so a lost answer leaves the outcome unknown."""
        return self._call("POST", path, query, json.dumps(body or {}).encode(), "application/json", once=once)

    def upload(
        self, path: str, form: Mapping[str, str], file: File, mime: str, name: str = "file", *, once: bool = False
    ) -> dict[str, Any]:
        """Post a form with one file; nobody sees a mere upload, so that may always be repeated."""
        content_type, body = multipart(form, file, mime, name)
        return self._call("POST", path, {}, body, content_type, once=once, seconds=UPLOAD_SECONDS)

    def download(self, url: str, *, max_bytes: int, authorised: bool, follow: int = 0) -> fetch.Response:
        """Fetch a file from Meta's hosts; refuse any other. Gives 4xx and 5xx answers as they are.

        Follows so many redirects, and only to those hosts.
        """
        if not endpoints.serves_media(url, hosts=MEDIA_HOSTS, base=self.base):
            raise ChannelError("The file lies on a host that is not Meta's, so it was not fetched.", code="media_host")
        headers = {"User-Agent": USER_AGENT} | ({"Authorization": f"Bearer {self.token}"} if authorised else {})
        try:
            return fetch.request(
                "GET",
                url,
                headers=headers,
                timeout=DOWNLOAD_SECONDS,
                max_bytes=max_bytes,
                policy=endpoints.policy(self.base),
                follow=follow,
                allowed_hosts=MEDIA_HOSTS,
            )
        except fetch.FetchError as error:
            raise self.verdicts.unreached(error, once=False, blocked="permanent") from error

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | Sequence[bytes] | None = None,
        content_type: str = "",
        *,
        once: bool = False,
        seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        proof = {"appsecret_proof": _hmac(self.secret, self.token.encode())} if self.secret else {}
        url = f"{self.base}/{self.version}/{quote(path)}?{urlencode({**query, **proof})}".rstrip("?")
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": USER_AGENT, "Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        try:
            response = fetch.request(
                method,
                url,
                headers=headers,
                body=body,
                timeout=seconds,
                max_bytes=4 * MIB,
                policy=endpoints.policy(self.base),
            )
        except fetch.FetchError as error:
            raise self.verdicts.unreached(error, once=once) from error
        answer = untrusted.load(response.body)
        if response.status < 300 and answer and "error" not in answer:
            return answer
        raise self.verdicts.refused(_refusal(response, answer), once=once, attempt=self.attempt)


def _refusal(response: fetch.Response, answer: Mapping[str, Any]) -> Refusal:
    """Read a Graph error; without one (a proxy's page) the refusal has no code."""
    error = untrusted.mapping(answer.get("error"))
    subcode = untrusted.text(error.get("error_subcode"))
    if "appsecret_proof" in untrusted.text(error.get("message")):
        subcode = "appsecret_proof"  # it has only the code of any bad parameter, yet spoils every call of the account
    return Refusal(
        code=untrusted.text(error.get("code")),
        subcode=subcode,
        message=_sentence(error),
        status=response.status,
        transient=error.get("is_transient") is True,
        retry_after=_retry_after(response.headers),
    )


def _sentence(error: Mapping[str, Any]) -> str:
    """Pick what tells most; `error_data` is an object here and a string there."""
    data = error.get("error_data")
    details = untrusted.text(untrusted.mapping(data).get("details")) or untrusted.text(data)
    return details or untrusted.text(error.get("error_user_msg")) or untrusted.text(error.get("message"))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long Meta wants us to wait, in seconds: `Retry-After`, else what the usage header estimates."""
    given = headers.get("retry-after", "")
    if given.isascii() and given.isdecimal() and len(given) < 8:
        return float(given)
    usage = untrusted.load(headers.get("x-business-use-case-usage", "").encode())
    waits = [one.get("estimated_time_to_regain_access") for each in usage.values() for one in untrusted.items(each)]
    minutes = [wait for wait in waits if isinstance(wait, int) and wait > 0]
    shares = untrusted.load(headers.get("x-app-usage", "").encode()).values()  # per cent of an hour's allowance
    if not minutes and any(isinstance(share, int) and share >= 100 for share in shares):
        minutes = [5]
    return 60.0 * max(minutes) if minutes else None


def multipart(form: Mapping[str, str], file: File, mime: str, name: str) -> tuple[str, list[bytes]]:
    """Encode a form with one file (RFC 7578); give its content type and its body in pieces, the file's own as one."""
    boundary = secrets.token_hex(16)
    escaped = file.filename.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    line = f"--{boundary}\r\n"
    fields = [f'{line}Content-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in form.items()]
    head = f'Content-Disposition: form-data; name="{name}"; filename="{escaped}"\r\nContent-Type: {mime}\r\n\r\n'
    pieces = ["".join([*fields, line, head]).encode(), file.read(), f"\r\n--{boundary}--\r\n".encode()]
    return f"multipart/form-data; boundary={boundary}", pieces
