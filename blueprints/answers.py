"""How the JSON API answers: every read ends in `show`, every write in `commit`. Called by the API's routes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from flask import Response, g

from models import db
from services import events, idempotency


def show(data: Any, status: int = 200) -> Response:
    """Answer with a document."""
    return Response(orjson.dumps(data, option=orjson.OPT_UTC_Z), status, content_type="application/json")


def commit(render: Callable[[], Any], status: int = 200) -> Response:
    """Give out the order, render the answer, keep it for a repeated call, commit, answer: in this order.

    `render` sees the stamps, and the kept answer is in the very transaction that it speaks of.
    """
    events.settle()
    response = show(render(), status)
    if (claim := g.get("claim")) is not None:
        idempotency.keep(claim, status, response.get_data())
    db.session.commit()
    return response
