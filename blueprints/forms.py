"""What the composer's script sends, read the same way by the inbox and by the embed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import request

from blueprints import sheets
from errors import Invalid
from lib.ids import is_uuid
from models import Attachment, Business
from services import messages, templates


def uuid(name: str, default: Any = None) -> Any:
    """Read an id from the form or the query; the default for anything else."""
    given = request.values.get(name, "")
    return UUID(given) if is_uuid(given) else default


def client_id() -> str | None:
    """Read the id that a screen made up, so that a repeated post is one message."""
    given = request.form.get("client_id", "")
    return given if is_uuid(given) else None


def template(business: Business, account_id: UUID, files: Sequence[Attachment]) -> messages.TemplateUse | None:
    """Read a chosen template with its values; None where none was chosen. Raise `Invalid` where it is not complete."""
    name, language = request.form.get("template", ""), request.form.get("language", "")
    if not name:
        return None
    approved = {(item.name, item.language): item for item in templates.page(business, account_id)}
    known = approved.get((name, language))
    if known is None:
        raise Invalid("This template is not approved any more. Choose another.", field="template")
    chosen = sheets.sheet(known)
    chosen.check(request.form, files)
    return messages.TemplateUse(name, language, chosen.values(request.form), chosen.text(request.form))
