"""The inbox: lists, threads, and what agents do in them. Each module holds the routes of one part of the screen."""

from __future__ import annotations

from flask import Blueprint

from blueprints.inbox import actions, compose, lists, people, search, threads

inbox = Blueprint("inbox", __name__)
for part in (lists, threads, compose, actions, people, search):
    inbox.register_blueprint(part.routes)
