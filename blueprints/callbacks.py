"""Where providers speak to us: the handshake, and callbacks that are verified, kept raw and answered at once."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, current_app, request

from errors import NotFound, TooLarge
from lib.ids import is_uuid
from services import inbound

blueprint = Blueprint("callbacks", __name__, url_prefix="/callbacks")


@blueprint.get("/<kind>/<account_id>")
def handshake(kind: str, account_id: str) -> Response:
    return _answer(inbound.handshake(kind, _id(account_id), _callback()))


@blueprint.post("/<kind>/<account_id>")
def receive(kind: str, account_id: str) -> Response:
    return _answer(inbound.accept(kind, _id(account_id), _callback()))


def _callback() -> inbound.Callback:
    settings = current_app.extensions["settings"]
    request.max_content_length = settings.callback_max_body
    body = request.get_data(cache=False)
    if len(body) > settings.callback_max_body:
        raise TooLarge(f"A callback has at most {settings.callback_max_body} bytes.")
    path = request.full_path if request.query_string else request.path
    return inbound.Callback(
        method=request.method,
        url=settings.public_url + path,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=request.args.to_dict(),
        body=body,
    )


def _answer(reply: inbound.Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.headers["Content-Type"] = reply.content_type
    return response


def _id(text: str) -> UUID:
    if not is_uuid(text):
        raise NotFound("No channel account has this callback address.", code="channel_account_not_found")
    return UUID(text)
