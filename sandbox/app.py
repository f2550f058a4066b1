"""create_app(): the rooms, the front doors, who may knock at which, and the log of what they asked."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from sandbox import control, instagram, look, mail, messenger, phone, twilio, whatsapp
from sandbox.callbacks import Answer
from sandbox.errors import Dropped, Refused
from sandbox.messaging import files
from sandbox.meta import graph
from sandbox.meta.errors import GraphError
from sandbox.store import Row
from sandbox.twilio import api
from sandbox.twilio import media as texts
from sandbox.twilio.errors import TwilioError
from sandbox.whatsapp import media
from sandbox.world import World, world

ROOMS = (whatsapp.room, messenger.room, instagram.room, mail.room, twilio.room)  # a new provider adds its line here
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


def create_app(here: World) -> Flask:
    """Make the WSGI application of one world."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 128 * 1024 * 1024
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["sandbox"] = here
    here.rooms.update({room.provider: room for room in ROOMS})
    here.sender.heard = lambda row, answer: _heard(here, row, answer)
    look.install(app)
    app.before_request(_knock)
    app.after_request(_record)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(Dropped, _dropped)
    app.register_error_handler(HTTPException, _http_error)
    rooms = (media.blueprint, files.blueprint, graph.blueprint, api.blueprint, texts.blueprint)
    for blueprint in (control.blueprint, phone.blueprint, *rooms):
        app.register_blueprint(blueprint)
    return app


def _heard(here: World, row: Row, answer: Answer) -> None:
    """Tell a room what its callback was answered with, if its provider acts on that."""
    if heard := here.rooms[row["provider"]].heard:
        heard(here, row, answer)


def _knock() -> None:
    """Let only this machine at the control API, and no other site's page at anything but the providers' APIs."""
    g.start, g.provider, g.account, g.note = time.monotonic(), "", "", ""
    if request.blueprint not in ("control", "phone"):
        return
    if request.blueprint == "control" and not ip_address(request.remote_addr or "0.0.0.0").is_loopback:
        raise Refused("The control API answers this machine only", code="forbidden", status=403)
    here = world()
    host = urlsplit(f"//{request.host}").hostname or ""
    if host not in ("localhost", urlsplit(here.base_url).hostname) and not _is_address(host):
        raise Refused(f"Unknown host name {host}; set SANDBOX_URL to be reached by it", code="forbidden", status=403)
    origin = request.headers.get("Origin")
    if origin and request.method == "POST" and urlsplit(origin).netloc != request.host:
        raise Refused("Another site's page may not do this", code="forbidden", status=403)


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _record(response: Response) -> Response:
    """Set the headers of a page; write a call of a provider's API, and what was ordered, into the log."""
    if request.blueprint == "phone":
        response.headers.setdefault("Content-Security-Policy", _CSP)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
    provider_call = request.blueprint not in ("control", "phone", None) or response.status_code == 404
    if not provider_call and not (request.blueprint == "control" and request.method != "GET"):
        return response
    plain = response.is_sequence and not response.direct_passthrough
    dropped = g.note.startswith(("drop", "timeout")) or "dropped" in g
    world().log.record(
        "in" if provider_call else "control",
        g.provider,
        g.account,
        request.method,
        request.full_path.rstrip("?"),
        request=_asked(),
        status=None if dropped else response.status_code,
        note=g.note,
        answer="" if dropped else response.get_data() if plain else f"({response.content_length or 'some'} bytes)",
        ms=(time.monotonic() - g.start) * 1000,
    )
    return response


def _asked() -> str | bytes:
    """Give the body of a request, for the log: a form's fields and the names of its files."""
    try:
        if request.mimetype != "multipart/form-data":
            return request.get_data()
        files = ", ".join(f"{name}: {file.filename} ({file.mimetype})" for name, file in request.files.items())
        return f"multipart {dict(request.form)} {files}"
    except HTTPException as exc:  # too large, or the caller hung up
        return f"({exc.name})"


def _refused(error: Refused) -> tuple[Response | str, int]:
    if request.blueprint == "phone" and "text/html" in request.headers.get("Accept", ""):
        return render_template("sorry.html", error=error), error.status
    return jsonify(error={"code": error.code, "message": error.message}), error.status


def _dropped(_: Dropped) -> Response:
    """Cut the connection: what is written after this goes nowhere."""
    g.dropped = True
    _asked()
    connection: socket.socket | None = request.environ.get("sandbox.socket")
    if connection:
        connection.shutdown(socket.SHUT_RDWR)
    return Response("", 500)


def _http_error(error: HTTPException) -> Response | tuple[Response | str, int]:
    """Answer what Flask refused in the shape of the door that was knocked at."""
    status = error.code or 500
    if request.path.startswith(("/control", "/phone")) or request.path == "/":
        return _refused(Refused(error.description or error.name, code="http_error", status=status))
    if request.path.startswith(f"/{api.VERSION}/"):
        return api.refuse(TwilioError(20004 if status == 405 else 20001, status=status, message=error.name))
    return graph.refuse(
        GraphError(
            2500,
            status=400 if status == 404 else status,
            message=(f"Unknown path components: {request.path} (a call looks like /v26.0/<node id>/<edge>)"),
        )
    )
