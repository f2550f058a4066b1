"""WhatsApp's media: upload, the two steps of a download, and whether a file fits the message that uses it."""

from __future__ import annotations

import hashlib
import hmac
import io
import mimetypes
import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request, send_file

from sandbox.callbacks import call
from sandbox.meta.errors import GraphError
from sandbox.meta.graph import token
from sandbox.store import Row
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import World, world

blueprint = Blueprint("whatsapp_media", __name__)
MIB = 1024 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument."
_TYPES: dict[str, tuple[int, tuple[str, ...]]] = {
    "image": (5 * MIB, ("image/jpeg", "image/png")),
    "sticker": (500 * 1024, ("image/webp",)),
    "video": (16 * MIB, ("video/mp4", "video/3gpp")),
    "audio": (16 * MIB, ("audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus")),
    "document": (100 * MIB, (
        "application/pdf", "text/plain", "application/msword", "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint", _OFFICE + "wordprocessingml.document", _OFFICE + "spreadsheetml.sheet",
        _OFFICE + "presentationml.presentation",
    )),
}  # fmt: skip
_ALL = {mime: high for high, mimes in _TYPES.values() for mime in mimes}
_MAGIC = {
    "image/jpeg": (b"\xff\xd8\xff",), "image/png": (b"\x89PNG",), "image/webp": (b"RIFF",), "audio/ogg": (b"OggS",),
    "application/pdf": (b"%PDF",), "audio/amr": (b"#!AMR",),
}  # fmt: skip
_ALIVE = {"upload": 30 * 86400, "callback": 7 * 86400}
_URL_SECONDS = 300
_key = secrets.token_bytes(32)


def upload(here: World, account: Row) -> dict[str, Any]:
    """Answer `POST /{PHONE_NUMBER_ID}/media`."""
    if request.mimetype != "multipart/form-data":
        raise GraphError(100, "The parameter file is required: send multipart/form-data")
    if request.form.get("messaging_product") != "whatsapp":
        raise GraphError(100, "The parameter messaging_product is required.")
    if not request.form.get("type"):
        raise GraphError(100, "The parameter type is required.")
    file = request.files.get("file")
    if file is None:
        raise GraphError(100, "The parameter file is required.")
    mime = (file.mimetype or request.form["type"].partition(";")[0].strip()).lower()
    if mime not in _ALL:
        raise GraphError(
            100,
            f"Param file must be a file with one of the following types: {', '.join(_ALL)}. "
            f"Received file of type '{mime}'.",
        )
    row = here.store.save_file(
        file.stream,
        provider=PROVIDER,
        account=account["id"],
        source="upload",
        mime=mime,
        name=file.filename or "",
        at=here.clock.now(),
    )
    if not 0 < row["size"] <= _ALL[mime]:
        here.store.delete_file(row)
        raise GraphError(131053, f"A file of type {mime} must have 1 to {_ALL[mime]} bytes, got {row['size']}.")
    return {"id": row["id"]}


def find(here: World, id_: str) -> Row | None:
    """Find a media object that is still alive."""
    row = here.store.one("files", provider=PROVIDER, id=id_)
    return row if row and here.clock.now() - row["at"] <= _ALIVE.get(row["source"], 0) else None


def describe(here: World, file: Row) -> dict[str, Any]:
    """Answer `GET /{MEDIA_ID}`: the first step, a URL that lives five minutes."""
    asked = request.args.get("phone_number_id")
    if asked and asked != file["account"]:
        raise GraphError(100, f"Media {file['id']} does not belong to the phone number {asked}.")
    return {
        "url": url_of(here, file, request.host_url),
        "mime_type": file["mime"],
        "sha256": file["sha256"],
        "file_size": file["size"],
        "id": file["id"],
        "messaging_product": "whatsapp",
    }


def url_of(here: World, file: Row, base: str) -> str:
    """Make the short-lived address of a media object."""
    until = int(here.clock.now()) + _URL_SECONDS
    query = {"mid": file["id"], "source": "getMedia", "ext": until, "hash": _hash(file["id"], until)}
    return f"{base.rstrip('/')}/whatsapp_business/attachments/?{urlencode(query)}"


@blueprint.get("/whatsapp_business/attachments/")
def download() -> Response:
    """Answer the second step: the bytes, for the same Bearer token, until the URL dies."""
    here, args = world(), request.args
    if not request.headers.get("User-Agent"):
        return Response("<!DOCTYPE html><html><body>Your browser is not supported.</body></html>", 400)
    file = find(here, args.get("mid", ""))
    until = int(args["ext"]) if args.get("ext", "").isdigit() else 0
    genuine = file is not None and hmac.compare_digest(args.get("hash", ""), _hash(file["id"], until))
    if file is None or not genuine or here.clock.now() > until:
        return Response("", 404)
    account = here.store.one("accounts", provider=PROVIDER, id=file["account"])
    if account is None or request.headers.get("Authorization") != f"Bearer {account['data']['access_token']}":
        raise GraphError(190, message=f"Authentication Error{'' if token() else ': no access token'}")
    fault = here.faults.take("before", PROVIDER, account=account["id"], on="download")
    if fault:
        return Response("", int(fault.data.get("status", 404)))
    return send_file(here.store.path_of(file), mimetype=file["mime"])


def _hash(id_: str, until: int) -> str:
    return hmac.new(_key, f"{id_} {until}".encode(), hashlib.sha256).hexdigest()


def attach(here: World, account: Row, view: dict[str, Any]) -> dict[str, Any] | None:
    """Find the uploads that a view names; refuse unknown ones, and give the fate of one that does not fit."""
    for part in (view.get("media"), view.get("header_media")):
        if not part or "id" not in part:
            continue
        file = find(here, str(part["id"]))
        if file is None or file["account"] != account["id"]:
            name = f"{part['type']}['id']"
            raise GraphError(100, f"Param {name} is not a valid whatsapp business account media attachment ID")
        part["file"] = file["id"]
        if problem := _misfit(here, file, part["type"]):
            return {"code": 131053, "details": problem}
    return None


def _misfit(here: World, file: Row, kind: str) -> str:
    high, mimes = _TYPES[kind]
    if file["mime"] not in mimes:
        return f"Unsupported {kind.capitalize()} mime type {file['mime']}. Please use one of {', '.join(mimes)}."
    if file["size"] > high:
        return f"The {kind} has {file['size']} bytes; at most {high} are allowed."
    with here.store.path_of(file).open("rb") as stream:
        head = stream.read(16)
    if not head.startswith(_MAGIC.get(file["mime"], (b"",))):
        return f"{kind.capitalize()} file is invalid: declared as {file['mime']}, but its bytes say otherwise."
    return ""


def fetch_links(here: World, message: Row) -> dict[str, Any] | None:
    """Fetch the files that a message names by link; give the fate of a message whose link leads nowhere."""
    for part in (message["data"]["view"].get("media"), message["data"]["view"].get("header_media")):
        if not part or "link" not in part or part.get("file"):
            continue
        kind, link = part["type"], part["link"]
        answer = call("GET", link, {"User-Agent": "WhatsApp/2", "Accept": "*/*"}, limit=_TYPES[kind][0] + 1)
        if not answer.ok:
            return {
                "code": 131053,
                "details": f"Downloading media from weblink failed with {answer.status or answer.error}",
            }
        name = link.partition("?")[0].rsplit("/", 1)[-1]
        file = here.store.save_file(
            io.BytesIO(answer.body),
            provider=PROVIDER,
            account=message["account"],
            source="upload",
            name=name,
            mime=mimetypes.guess_type(name)[0] or _TYPES[kind][1][0],
            at=here.clock.now(),
        )
        part["file"] = file["id"]
        if problem := _misfit(here, file, kind):
            return {"code": 131053, "details": problem}
    return None
