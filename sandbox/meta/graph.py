"""The front door of the Graph API: version, token, node, faults; then the room that owns the node answers.

A node is found by its id in any Meta room, as on the real host, so Messenger and Instagram need no door of their own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

from flask import Blueprint, Response, g, request

from sandbox import trouble
from sandbox.faults import Fault
from sandbox.meta.errors import GraphError
from sandbox.world import Node, World, world

blueprint = Blueprint("graph", __name__)
OLDEST, NEWEST = 21, 26  # Graph versions alive in November 2026
_TROUBLE = {
    "rate_limit": 130429,
    "pair_rate_limit": 131056,
    "server_error": 131000,
    "unavailable": 131016,
    "expired_token": 190,
}


@blueprint.route("/<version>/<node_id>", methods=["GET", "POST", "DELETE"])
@blueprint.route("/<version>/<node_id>/<edge>", methods=["GET", "POST", "DELETE"])
def graph(version: str, node_id: str, edge: str = "") -> Response:
    """Answer one call of the Graph API."""
    here = world()
    _check_version(version)
    node = _authorised(here, _find(here, node_id), node_id)
    g.provider, g.account = node.provider, node.account
    facts = {"account": node.account, "on": edge or node.kind}
    if fault := here.faults.take("before", node.provider, **facts):
        g.note = fault.kind
        return _strike(here, node.provider, fault)
    handler = node.verbs.get((request.method, edge))
    if handler is None:
        raise _unsupported(node_id)
    after = here.faults.take("after", node.provider, **facts)
    answer = _answer(handler(), 200, version)
    if after:
        g.note = after.kind
        trouble.hold_up(here, after, answer)
    return answer


@blueprint.app_errorhandler(GraphError)
def refuse(error: GraphError) -> Response:
    """Write a refusal in the Graph API's shape."""
    answer = _answer(error.body("whatsapp" if g.provider in ("", "whatsapp") else ""), error.status)
    if error.code == 190:
        answer.headers["WWW-Authenticate"] = f'OAuth "Facebook Platform" "invalid_token" "{error.message}"'
    return answer


def token() -> str:
    """Give the access token of this request: the Bearer header, or the `access_token` parameter."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if value and scheme.lower() in ("bearer", "oauth"):
        return value.strip()
    return request.values.get("access_token", "")


def body() -> dict[str, Any]:
    """Read the JSON object that was posted."""
    if request.mimetype != "application/json":
        raise GraphError(100, "The body is not JSON: send Content-Type: application/json")
    try:
        value = json.loads(request.get_data())
    except ValueError as exc:
        raise GraphError(100, f"The body is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise GraphError(100, "The body must be a JSON object")
    return value


def invalid_token(message: str = "Invalid OAuth access token - Cannot parse access token") -> GraphError:
    """Make the refusal of a token that nobody knows."""
    return GraphError(190, message=message)


def _check_version(version: str) -> None:
    match = re.fullmatch(r"v(\d{1,3})\.\d", version)
    if not match:
        raise GraphError(2500, message=f"Unknown path components: {request.path} (say which version, like /v26.0/…)")
    if not OLDEST <= int(match[1]) <= NEWEST:
        raise GraphError(2635, message=f"(#2635) Version {version} is not available; use v{OLDEST}.0 to v{NEWEST}.0")


def _find(here: World, node_id: str) -> Node | None:
    finders = (room.node for room in here.rooms.values() if room.node)
    return next((node for find in finders if (node := find(here, node_id))), None)


def _authorised(here: World, node: Node | None, node_id: str) -> Node:
    """Check the token, and that it may see the node."""
    presented = token()
    if not presented:
        raise invalid_token("An access token is required to request this resource.")
    known: set[str] = set().union(*(room.tokens(here) for room in here.rooms.values() if room.tokens))
    if presented not in known:
        raise invalid_token()
    if node is None or presented not in node.tokens:
        raise _unsupported(node_id)
    proof = request.values.get("appsecret_proof")
    if node.require_proof and not proof:
        raise GraphError(100, message="API calls from the server require an appsecret_proof argument")
    if proof:
        expected = hmac.new(node.secret.encode(), presented.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(proof, expected):
            raise GraphError(100, message="Invalid appsecret_proof provided in the API argument")
    return node


def _unsupported(node_id: str) -> GraphError:
    verb = request.method.lower()
    return GraphError(
        100,
        subcode=33,
        message=(
            f"Unsupported {verb} request. Object with ID '{node_id}' does not exist, cannot be loaded due to missing "
            "permissions, or does not support this operation"
        ),
    )


def _strike(here: World, provider: str, fault: Fault) -> Response:
    """Answer with the trouble that was ordered, without doing anything."""
    if page := trouble.strike(fault):
        return page
    codes = _TROUBLE | dict(here.rooms[provider].trouble)
    code = codes.get(fault.kind) or int(fault.data.get("code", codes["server_error"]))
    message = "Error validating access token: Session has expired." if fault.kind == "expired_token" else ""
    raise GraphError(
        code,
        str(fault.data.get("details", "")),
        status=int(fault.data.get("status", 0)),
        subcode=463 if message else fault.data.get("subcode"),
        message=message,
    )


def _answer(content: Any, status: int, version: str = "") -> Response:
    if isinstance(content, Response):
        return content
    answer = Response(json.dumps(content, ensure_ascii=True), status, mimetype="application/json")
    answer.headers["X-App-Usage"] = '{"call_count":1,"total_cputime":0,"total_time":0}'
    if version:
        answer.headers["Facebook-API-Version"] = version
    return answer
