"""What the composer's script sends, read the same way by the inbox and by the embed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import request

from lib.ids import is_uuid
from services import messages


def uuid(name: str, default: Any = None) -> Any:
    """Read an id from the form or the query; the default for anything else."""
    given = request.values.get(name, "")
    return UUID(given) if is_uuid(given) else default


def client_id() -> str | None:
    """Read the id that a screen made up, so that a repeated post is one message."""
    given = request.form.get("client_id", "")
    return given if is_uuid(given) else None


def template() -> messages.TemplateUse | None:
    """Read a chosen template: its name, its language, and its values by component."""
    name = request.form.get("template", "")
    if not name:
        return None
    parameters: dict[str, list[str]] = {}
    for key in request.form:
        if key.startswith("value:"):
            component = key.removeprefix("value:").rpartition(":")[0]
            parameters.setdefault(component, []).append(request.form[key])
    preview = request.form.get("preview", "")[:4000]
    return messages.TemplateUse(name, request.form.get("language", ""), parameters, preview)
