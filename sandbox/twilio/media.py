"""Files of texts: media objects behind the API's login, a CDN behind signed addresses, and what businesses send.

https://www.twilio.com/docs/messaging/api/media-resource; accepted types:
https://www.twilio.com/docs/messaging/guides/accepted-mime-types
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request, send_file

from sandbox.callbacks import call
from sandbox.store import Row
from sandbox.twilio.accounts import PROVIDER
from sandbox.world import Upload, World, world

blueprint = Blueprint("twilio_media", __name__)
TOTAL = 5 * 1024 * 1024
_SECONDS = 4 * 3600
_TAKEN = ("image/", "audio/", "video/", "text/", "application/pdf", "application/vcard", "application/vnd.apple.pkpass")
_key = secrets.token_bytes(32)
Part = dict[str, Any]


def keep(here: World, account: Row, upload: Upload, source: str) -> Part:
    """Write a file down; give its part of a message: `sid`, `file`, `mime`."""
    row = here.store.save_file(
        upload.stream,
        provider=PROVIDER,
        account=account["id"],
        source=source,
        mime=upload.mime,
        name=upload.name,
        at=here.clock.now(),
    )
    return {"sid": f"ME{secrets.token_hex(16)}", "file": row["id"], "mime": row["mime"], "name": row["name"]}


def fetch(here: World, account: Row, parts: list[Part]) -> int:
    """Fetch the files that a message names by `link`; give the code with which it fails, or 0."""
    size = 0
    for place, part in enumerate(parts):
        if "link" not in part:
            continue
        link = part["link"]
        answer = call("GET", link, {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*"}, limit=TOTAL + 1)
        size += len(answer.body)
        if not answer.ok:
            return 11200
        if not answer.mime.startswith(_TAKEN):
            return 12300
        if size > TOTAL:
            return 30019
        name = link.partition("?")[0].rsplit("/", 1)[-1]
        kept = keep(here, account, Upload(name if "." in name else "", answer.mime, io.BytesIO(answer.body)), "sent")
        parts[place] = kept | {"sid": part["sid"]}
    return 0


def url_of(here: World, file: Row) -> str:
    """Make a signed address on the CDN, to which the API sends those who show their login."""
    until = int(here.clock.now()) + _SECONDS
    query = urlencode({"Expires": until, "Signature": _hash(file["id"], until), "Key-Pair-Id": "SANDBOX"})
    return f"{here.base_url}/mms.twiliocdn.com/{file['id']}?{query}"


@blueprint.get("/mms.twiliocdn.com/<id_>")
def download(id_: str) -> Response:
    """Give the bytes to whoever has the address; a call that brings a login too is refused, as by any such storage."""
    here, args = world(), request.args
    if request.headers.get("Authorization"):
        return Response("<Error><Code>InvalidArgument</Code></Error>", 400, mimetype="application/xml")
    until = int(args["Expires"]) if args.get("Expires", "").isdigit() else 0
    file = here.store.one("files", provider=PROVIDER, id=id_)
    genuine = hmac.compare_digest(args.get("Signature", "").encode(), _hash(id_, until).encode())
    if file is None or not genuine or here.clock.now() > until:
        return Response("<Error><Code>AccessDenied</Code></Error>", 403, mimetype="application/xml")
    if fault := here.faults.take("before", PROVIDER, account=file["account"], on="download"):
        return Response("", int(fault.data.get("status", 404)))
    return send_file(here.store.path_of(file), mimetype=file["mime"])


def _hash(id_: str, until: int) -> str:
    return hmac.new(_key, f"{id_} {until}".encode(), hashlib.sha256).hexdigest()


def shown(here: World, part: Part) -> dict[str, Any]:
    """Write a file for the control API and the phone page."""
    kind = part.get("mime", "").partition("/")[0]
    kind = kind if kind in ("image", "video", "audio") else "document"
    file = here.store.one("files", id=part.get("file"))
    if file is None:
        return {"type": kind, "id": part["sid"], "url": None}
    return {
        "type": kind,
        "id": part["sid"],
        "mime": file["mime"],
        "size": file["size"],
        "filename": file["name"],
        "sha256": file["sha256"],
        "url": f"/phone/files/{file['id']}",
    }
