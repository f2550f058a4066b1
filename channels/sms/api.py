"""Twilio's REST API, as one account may use it. Called by the channel, in the worker.

Reference: https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin

from channels import endpoints, untrusted
from channels.base import ChannelError, Media
from channels.sms.errors import VERDICTS
from channels.verdicts import Refusal
from lib import fetch

MIB = 1024 * 1024
API_HOSTS = ("api.twilio.com",)  # get our credentials
MEDIA_HOSTS = (*API_HOSTS, "twiliocdn.com", "s3-external-1.amazonaws.com")  # are followed to, without
USER_AGENT = "ALaCarteChat/1.0"
CALL_SECONDS, DOWNLOAD_SECONDS, HOPS = 20.0, 60.0, 3
Pairs = Sequence[tuple[str, str]]


def post(config: Mapping[str, Any], path: str, pairs: Pairs, *, attempt: int = 1) -> dict[str, Any]:
    """Post a form whose effect a customer sees, so that a lost answer leaves the outcome unknown."""
    return _call(config, "POST", path, pairs, _login(config), once=True, attempt=attempt)


def get(config: Mapping[str, Any], path: str, *, by_token: bool = False) -> dict[str, Any]:
    """Read a resource, with the API key if there is one or else (or `by_token`) with the auth token."""
    return _call(config, "GET", path, None, _login({**config, "api_key_sid": ""} if by_token else config))


def _login(config: Mapping[str, Any]) -> str:
    user, word = config["account_sid"], config["auth_token"]
    if config.get("api_key_sid"):
        user, word = config["api_key_sid"], config["api_key_secret"]
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


def _call(
    config: Mapping[str, Any],
    method: str,
    path: str,
    pairs: Pairs | None,
    login: str,
    *,
    once: bool = False,
    attempt: int = 1,
) -> dict[str, Any]:
    base = endpoints.current().twilio_api_url
    headers = {"Authorization": login, "User-Agent": USER_AGENT, "Accept": "application/json"}
    if pairs is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        response = fetch.request(
            method,
            f"{base}/2010-04-01/Accounts/{config['account_sid']}{path}",
            headers=headers,
            body=None if pairs is None else urlencode(pairs).encode(),
            timeout=CALL_SECONDS,
            max_bytes=MIB,
            policy=endpoints.policy(base),
        )
    except fetch.FetchError as error:
        raise VERDICTS.unreached(error, once=once) from error
    answer = untrusted.load(response.body)
    if 200 <= response.status < 300 and (answer.get("sid") if once else answer):
        return answer
    raise VERDICTS.refused(_refusal(response, answer), once=once, attempt=attempt)


def _refusal(response: fetch.Response, answer: Mapping[str, Any]) -> Refusal:
    code = untrusted.text(answer.get("code"))
    wait = response.headers.get("retry-after", "")
    return Refusal(
        code=code or {401: "20003", 429: "20429"}.get(response.status, ""),
        message=untrusted.text(answer.get("message")),
        status=response.status,
        retry_after=float(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 8 else None,
    )


def download(config: Mapping[str, Any], media: Media, max_bytes: int) -> tuple[bytes, str, str]:
    """Fetch a file: Twilio wants our credentials and sends us on to a signed address, which must not get them."""
    base = endpoints.current().twilio_api_url
    url, headers = media.url or "", {"Authorization": _login(config)}
    hosts: Sequence[str] = API_HOSTS
    for _ in range(HOPS):
        response = _file(url, headers, hosts, base, max_bytes)
        if response.status not in (301, 302, 303, 307, 308):
            break
        url, headers, hosts = urljoin(url, response.headers.get("location", "")), {}, MEDIA_HOSTS
    if response.status != 200:
        said = f"Twilio's media server answered {response.status} instead of the file."
        raise ChannelError(said, action="retry", code=f"media_{response.status}")
    if response.truncated:
        raise ChannelError(f"The file is larger than {max_bytes} bytes, so it was not fetched.", code="too_large")
    return response.body, media.mime, media.filename


def _file(url: str, headers: Mapping[str, str], hosts: Sequence[str], base: str, max_bytes: int) -> fetch.Response:
    if not endpoints.serves_media(url, hosts=hosts, base=base):
        raise ChannelError("The file lies on a host that is not Twilio's, so it was not fetched.", code="media_host")
    try:
        return fetch.request(
            "GET",
            url,
            headers={"User-Agent": USER_AGENT, **headers},
            timeout=DOWNLOAD_SECONDS,
            max_bytes=max_bytes,
            policy=endpoints.policy(base),
        )
    except fetch.FetchError as error:
        raise VERDICTS.unreached(error, once=False, blocked="permanent") from error
