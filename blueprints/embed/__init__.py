"""The embed: one customer's conversations in somebody else's page. `/embed/…`.

A token opens a session; the rest comes with the session's secret in a header. No cookie is read or set, so it works
where a browser blocks them all, and in a sandbox whose origin is nobody's.
"""

from __future__ import annotations

from flask import Response, session

from blueprints.embed import page, visits

# Of a page that tells of trouble: it must show where the embed would.
TROUBLE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"


def _leave_no_trace(response: Response) -> Response:
    """Keep answers out of caches and addresses out of referrers, and let an agent's own cookie in this browser be."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", TROUBLE_POLICY)
    session.permanent = session.modified = False  # so that it is not written
    return response


def _answer_any_origin(response: Response) -> Response:
    """Let a sandboxed page, whose origin is `null`, read its answers: the secret in its header is the credential."""
    for name in ("Origin", "Headers", "Methods"):
        response.headers[f"Access-Control-Allow-{name}"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "*"
    response.headers["Access-Control-Max-Age"] = "7200"
    return response


for part in (page.routes, visits.routes):
    part.after_request(_leave_no_trace)
    part.after_request(_answer_any_origin)
