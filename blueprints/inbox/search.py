"""The palette: everything that can be jumped to, found as one types. `/search`."""

from __future__ import annotations

from flask import Blueprint, g, render_template, request

from services import search

routes = Blueprint("search", __name__)


@routes.get("/search")
def results() -> str:
    """Give the palette's results; without a query the conversations of late."""
    q = request.args.get("q", "").strip()[:200]
    return render_template("inbox/_results.html", q=q, found=search.everything(g.business, q))
