"""`/control/…`: how people and tests set the stage. Shared verbs here; a provider's own are looked up in its room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, request

from sandbox.errors import Refused
from sandbox.faults import KINDS
from sandbox.store import TABLES
from sandbox.world import Upload, world

blueprint = Blueprint("control", __name__, url_prefix="/control")


@blueprint.get("")
def index() -> Response:
    """Say what there is."""
    rooms = {name: {"post": sorted(room.verbs), "get": sorted(room.reads)} for name, room in world().rooms.items()}
    return jsonify(providers=rooms, faults={name: meaning for name, (_, meaning) in KINDS.items()})


@blueprint.get("/health")
def health() -> Response:
    """Say that we are up, and how much memory that takes."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return jsonify(ok=True, pss_kib=pss, pending=len(world().store.all("deliveries", state="pending")))


@blueprint.route("/clock", methods=["GET", "POST"])
def clock() -> Response:
    """Tell or move the time."""
    here = world()
    if request.method == "POST":
        body = _body()
        offset = body.get("offset")
        here.clock.move(advance=_number(body, "advance"), offset=None if offset is None else _number(body, "offset"))
        here.sender.hurry()
    return jsonify(now=here.clock.now(), offset=here.clock.offset)


@blueprint.route("/faults", methods=["GET", "POST", "DELETE"])
def faults() -> Response:
    """List, arm or clear the faults."""
    here = world()
    if request.method == "POST":
        body = _body()
        here.faults.arm(body.pop("provider", "whatsapp"), body.pop("kind", ""), body.pop("times", 1), **body)
    elif request.method == "DELETE":
        here.store.delete("faults")
    return jsonify(faults=[{**row.pop("data"), **row} for row in here.store.all("faults")])


@blueprint.get("/log")
def log() -> Response:
    """List the newest exchanges, newest first."""
    args = request.args
    where = {name: args[name] for name in ("direction", "provider", "account", "method", "status") if args.get(name)}
    rows = world().log.page(limit=_whole("limit", 100), after=_whole("after", 0), **where)
    wanted = args.get("path", "")
    return jsonify(exchanges=[row for row in rows if wanted in row["url"]])


@blueprint.get("/deliveries")
def deliveries() -> Response:
    """List the newest callbacks with all their attempts, newest first."""
    here, args = world(), request.args
    where = {name: args[name] for name in ("id", "state", "provider", "account", "person", "label") if args.get(name)}
    rows = here.store.all("deliveries", **where)[::-1][: _whole("limit", 100)]
    return jsonify(deliveries=[{**row, "body": row["body"].decode("utf-8", "replace")} for row in rows])


@blueprint.post("/batch")
def batch() -> Response:
    """Call back many items in one envelope."""
    here, body = world(), _body()
    return jsonify(here.room(body.get("provider", "whatsapp")).verbs["batch"](here, body, None))


@blueprint.post("/reset")
def reset() -> Response:
    """Forget everything; with `keep_accounts` only what happened, not what was declared."""
    here = world()
    kept = ("things", "accounts") if _body().get("keep_accounts") is True else ()
    here.store.wipe(table for table in TABLES if table not in kept)
    here.clock.move(offset=0.0)
    here.rates.clear()
    return jsonify(ok=True)


@blueprint.post("/<provider>/<verb>")
def do(provider: str, verb: str) -> Response:
    """Do what a room can do."""
    here = world()
    room = here.room(provider)
    if verb not in room.verbs:
        raise Refused(f"{provider} has no “{verb}”; it has {', '.join(room.verbs)}", code="not_found", status=404)
    return jsonify(room.verbs[verb](here, _body(), _upload()))


@blueprint.get("/<provider>/<noun>")
def read(provider: str, noun: str) -> Response:
    """Read what a room knows."""
    here = world()
    room = here.room(provider)
    if noun not in room.reads:
        raise Refused(f"{provider} has no “{noun}”; it has {', '.join(room.reads)}", code="not_found", status=404)
    return jsonify(room.reads[noun](here, request.args.to_dict()))


def _body() -> dict[str, Any]:
    """Give the JSON object, or the form, that was posted."""
    if request.mimetype == "multipart/form-data":
        return dict(request.form)
    if not request.get_data():
        return {}
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise Refused("Send a JSON object (or multipart/form-data, for a file)", status=400)
    return body


def _upload() -> Upload | None:
    file = request.files.get("file")
    return Upload(file.filename or "file", file.mimetype or "", file.stream) if file else None


def _number(body: dict[str, Any], name: str) -> float:
    value = body.get(name, 0)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Refused(f"{name}: give seconds, as a number")
    return float(value)


def _whole(name: str, default: int) -> int:
    given = request.args.get(name, str(default))
    if not given.isdigit():
        raise Refused(f"{name}: give a whole number")
    return int(given)
