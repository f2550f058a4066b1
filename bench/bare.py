"""The floor of a keyed lookup: a bare Flask route with one indexed SELECT by raw psycopg, on the same server.

Run by gunicorn with our own configuration; measures nothing itself.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from types import SimpleNamespace
from typing import Any

import orjson
import psycopg
from flask import Flask, Response, request

app = Flask(__name__)
app.extensions["live"] = SimpleNamespace()  # our own configuration of gunicorn tells it when to stop
_connections: list[Any] = []


@app.get("/lookup")
def lookup() -> Response:
    connection = _connections.pop() if _connections else psycopg.connect(os.environ["BENCH_DSN"], autocommit=True)
    row = connection.execute(
        "SELECT c.* FROM identities i JOIN customers c ON c.business_id = i.business_id AND c.id = i.customer_id "
        "WHERE i.business_id = %s AND i.kind = 'external_id' AND i.value = %s",
        (os.environ["BENCH_BUSINESS"], request.args["external_id"]),
    ).fetchone()
    _connections.append(connection)
    return Response(orjson.dumps(row, default=str), content_type="application/json")


@app.post("/callback")
def callback() -> Response:
    """The floor of a callback: verify the signature, insert one row."""
    body = request.get_data()
    expected = "sha256=" + hmac.new(os.environ["BENCH_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("X-Hub-Signature-256", "")):
        return Response(status=403)
    connection = _connections.pop() if _connections else psycopg.connect(os.environ["BENCH_DSN"], autocommit=True)
    connection.execute("INSERT INTO bench_callbacks (body) VALUES (%s)", (body,))
    _connections.append(connection)
    return Response()
