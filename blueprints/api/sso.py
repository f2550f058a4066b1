"""Tokens for the embedded inbox: issue one, revoke one or all of a customer's."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response, current_app, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body
from blueprints.api.routing import Routes
from blueprints.api.shapes import Done, Time
from errors import Invalid, Unauthenticated
from services import customers, embeds, payloads, team

routes = Routes("Embedding")


class TokenBody(Body):
    """For whom: one of `customer_id`, `external_id`, `email`, `phone`."""

    customer_id: str | None = Field(None, max_length=255, description="Our id, or the CRM's.", examples=["CRM-12345"])
    external_id: str | None = Field(None, max_length=255)
    external_system: str | None = Field(None, max_length=64)
    email: str | None = Field(None, max_length=320)
    phone: str | None = Field(None, max_length=64)
    scope: Literal["inbox", "inbox:read"] = Field("inbox", description="`inbox`: read and reply; `inbox:read`: read.")
    expires_in: int = Field(3600, ge=60, le=86_400, description="Seconds.")
    agent_email: str | None = Field(None, max_length=320, description="The user whose name the replies carry.")
    single_use: bool = Field(False, description="Opens once; by default a token may be used again until it expires.")


class TokenAnswer(Done):
    token: str
    expires_at: Time
    embed_url: str = Field(description="Put it into the iframe's `src`.")


class RevokeBody(Body):
    """Which: one `token`, or `customer_id` for all of a customer's until now."""

    token: str | None = Field(None, max_length=2048, examples=["eyJhbGciOi…"])
    customer_id: str | None = Field(None, max_length=255)


@routes.post("/api-sso-generate-token", scope="embed", answer=TokenAnswer, errors=(404, 409))
def generate(body: TokenBody) -> Response:
    """Generate an embed token

    It opens the conversations of one customer, with every cookie blocked, and dies with its API key and its customer.
    """
    agent = team.find_by_email(body.agent_email) if body.agent_email is not None else None
    if body.agent_email is not None and (agent is None or agent.business_id != g.business.id or not agent.is_active):
        raise Invalid("No active user of this business has that email.", code="user_not_found", field="agent_email")
    token, expires_at = embeds.issue(
        g.business,
        _customer(body),
        scope=body.scope,
        expires_in=body.expires_in,
        api_key=g.caller,
        agent=agent,
        single_use=body.single_use,
    )
    shown = {"success": True, "token": token, "expires_at": payloads.time(expires_at), "embed_url": _address(token)}
    return answers.commit(lambda: shown)


@routes.post("/api-sso-revoke-token", scope="embed", answer=Done, errors=(404, 409))
def revoke(body: RevokeBody) -> Response:
    """Revoke embed tokens

    Open iframes of a revoked token close at once.
    """
    if (body.token is None) == (body.customer_id is None):
        raise Invalid("Give either token or customer_id.", field="token")
    if body.customer_id is not None:
        embeds.revoke_customer(g.business, customers.resolve(g.business, body.customer_id))
    else:
        embeds.revoke_token(g.business, _token_id(body.token or ""))
    return answers.commit(lambda: {"success": True})


def _token_id(token: str) -> UUID:
    """Read a token of this business; another's is answered like any text that is none."""
    try:
        claims = embeds.read(token)
    except Unauthenticated:
        claims = None
    if claims is None or claims.business_id != g.business.id:
        raise Invalid("This is no token of this business, or it has expired.", code="invalid_token", field="token")
    return claims.id


def _customer(body: TokenBody) -> Any:
    if body.customer_id is not None:
        return customers.resolve(g.business, body.customer_id)
    return customers.get(
        g.business,
        external_id=body.external_id,
        external_system=body.external_system,
        email=body.email,
        phone=body.phone,
    )


def _address(token: str) -> str:
    return f"{current_app.extensions['settings'].public_url}/embed/inbox?token={token}"
