"""Files of Messenger and Instagram: what customers send lies on a CDN for a day; what businesses send is judged here.

The CDN asks for no token, and refuses a call that brings one: whoever sends their token there gives it away.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import mimetypes
import secrets
from typing import IO, Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request, send_file
from werkzeug.datastructures import FileStorage

from sandbox.callbacks import call
from sandbox.messaging.network import NOT_FETCHED, TOO_LARGE, UNFIT, Network
from sandbox.meta.errors import GraphError
from sandbox.store import Row
from sandbox.world import World, world

blueprint = Blueprint("messaging_files", __name__)
ALIVE = 86400.0
_key = secrets.token_bytes(32)
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
)


def keep(net: Network, here: World, account: Row, stream: IO[bytes], *, mime: str, name: str, source: str) -> Row:
    """Write a file down."""
    return here.store.save_file(
        stream,
        provider=net.provider,
        account=account["id"],
        source=source,
        mime=mime,
        name=name,
        at=here.clock.now(),
    )


def url_of(here: World, file: Row) -> str:
    """Make the address that a callback gives."""
    until = int(here.clock.now() + ALIVE)
    query = urlencode({"oe": f"{until:x}", "oh": _hash(file["id"], until)})
    if file["provider"] == "instagram":
        return f"{here.base_url}/ig_messaging_cdn/?asset_id={file['id']}&{query}"
    return f"{here.base_url}/v/t1/{file['id']}/{quote(file['name'] or 'file')}?{query}"


@blueprint.get("/v/t1/<id_>/<name>")
def page_file(id_: str, name: str) -> Response:
    """Give a file of Messenger."""
    del name
    return _give(id_)


@blueprint.get("/ig_messaging_cdn/")
def instagram_file() -> Response:
    """Give a file of Instagram."""
    return _give(request.args.get("asset_id", ""))


def _give(id_: str) -> Response:
    here = world()
    if request.headers.get("Authorization"):
        return Response("Bad request: this server takes no credentials", 400, mimetype="text/plain")
    try:
        until = int(request.args.get("oe", ""), 16)
    except ValueError:
        until = 0
    file = here.store.one("files", id=id_)
    if file is None or not hmac.compare_digest(request.args.get("oh", ""), _hash(id_, until)):
        return Response("URL signature mismatch", 403, mimetype="text/plain")
    if here.clock.now() > until:
        return Response("URL signature expired", 403, mimetype="text/plain")
    if fault := here.faults.take("before", file["provider"], account=file["account"], on="download"):
        return Response("", int(fault.data.get("status", 404)))
    return send_file(here.store.path_of(file), mimetype=file["mime"])


def _hash(id_: str, until: int) -> str:
    return hmac.new(_key, f"{id_} {until}".encode(), hashlib.sha256).hexdigest()


# --- what a business sends ---


def sent(net: Network, here: World, account: Row, kind: str, upload: FileStorage) -> Row:
    """Take a file that came with a call."""
    data = upload.stream.read()
    return _judged(net, here, account, kind, data, upload.mimetype or "", upload.filename or "file")


def fetched(net: Network, here: World, account: Row, kind: str, link: str) -> Row:
    """Fetch a file from a business's server, which must let anybody have it."""
    high = net.files[kind][0]
    answer = call("GET", link, {"User-Agent": "facebookexternalhit/1.1", "Accept": "*/*"}, limit=high + 1)
    if not answer.ok:
        error = NOT_FETCHED.error()
        error.message += f" {link} answered {answer.status or answer.error}."
        raise error
    name = link.partition("?")[0].rsplit("/", 1)[-1]
    return _judged(net, here, account, kind, answer.body, _sniffed(answer.body), name if "." in name else "")


def uploaded(net: Network, here: World, account: Row, kind: str, id_: str) -> Row:
    """Find a file that was uploaded before."""
    file = here.store.one("files", provider=net.provider, account=account["id"], source="attachment", id=id_)
    if file is None:
        raise GraphError(100, f"Invalid attachment_id {id_} for a {kind}.", subcode=2018074)
    return file


def _judged(net: Network, here: World, account: Row, kind: str, data: bytes, mime: str, name: str) -> Row:
    high, mimes = net.files[kind]
    mime = mime.partition(";")[0].strip().lower() or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not 0 < len(data) <= high:
        raise TOO_LARGE.error()
    fits = mime in mimes if mimes else kind == "file" or mime.startswith(f"{kind}/")
    if not fits or (kind == "image" and not _sniffed(data).startswith("image/")):
        raise UNFIT.error()
    return keep(net, here, account, io.BytesIO(data), mime=mime, name=name or f"file{_ending(mime)}", source="sent")


def _ending(mime: str) -> str:
    return mimetypes.guess_extension(mime) or ""


def _sniffed(data: bytes) -> str:
    """Tell a type by the first bytes."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "audio/mp4" if brand.startswith(b"M4A") else "video/quicktime" if brand == b"qt  " else "video/mp4"
    if data[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo", b"WEBP": "image/webp"}.get(data[8:12], "")
    return next((mime for magic, mime in _MAGIC if data.startswith(magic)), "application/octet-stream")


def shown(here: World, part: dict[str, Any]) -> dict[str, Any]:
    """Write a file for the control API and the phone page."""
    file = here.store.one("files", id=part["file"])
    if file is None:
        return {**part, "url": None}
    return {
        "type": part["type"],
        "id": file["id"],
        "mime": file["mime"],
        "size": file["size"],
        "filename": file["name"],
        "sha256": file["sha256"],
        "url": f"/phone/files/{file['id']}",
    }
