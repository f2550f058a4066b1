"""`/live`: what happens in the business, for the agents' screens. The machinery is in `streams`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g
from flask_login import current_user

from blueprints import streams

blueprint = Blueprint("live", __name__)


@blueprint.record_once
def _open_hub(state: Any) -> None:
    streams.init_app(state.app)


@blueprint.get("/live")
def stream() -> Response:
    """Send an agent every change from `after` on, until they sign out or go."""
    return streams.answer(g.business.id, streams.AGENTS, current_user.get_id())
