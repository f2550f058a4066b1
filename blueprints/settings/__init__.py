"""Settings: one module for each page. Admins only, but for what people set for themselves (`account`)."""

from __future__ import annotations

from flask import Blueprint

from blueprints.settings import (
    api_access,
    channel_trials,
    channels,
    crm,
    notices,
    team,
    webhook_detail,
    webhook_trials,
    webhooks,
)

settings = Blueprint("settings", __name__)
for part in (api_access, team, crm, channels, channel_trials, webhooks, webhook_detail, webhook_trials, notices):
    settings.register_blueprint(part.routes)
