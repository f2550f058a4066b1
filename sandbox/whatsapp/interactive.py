"""Interactive messages: reply buttons, lists, links and requests, with their documented limits. Called by `rules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.meta import shapes
from sandbox.meta.errors import GraphError

_ACTION = "interactive['action']"


def check(content: dict[str, Any]) -> dict[str, Any]:
    """Check an `interactive` object; give its view."""
    shapes.only(content, ("type", "header", "body", "footer", "action"), "interactive")
    kind = shapes.one_of(content.get("type"), _ACTIONS, "interactive['type']")
    body = shapes.table(content, "body", "interactive")
    shapes.only(body, ("text",), "interactive['body']")
    view = {"text": shapes.text(body, "text", "interactive['body']", high=1024)}
    if footer := shapes.table(content, "footer", "interactive", required=False):
        view["footer"] = shapes.text(footer, "text", "interactive['footer']", high=60)
    view |= _header(shapes.table(content, "header", "interactive", required=False), kind)
    rule: Callable[[dict[str, Any]], dict[str, Any]] = _ACTIONS[kind]
    return view | rule(shapes.table(content, "action", "interactive"))


def _header(header: dict[str, Any], kind: str) -> dict[str, Any]:
    if not header:
        return {}
    at = "interactive['header']"
    allowed = ("text",) if kind == "list" else ("text", "image", "video", "document")
    what = shapes.one_of(header.get("type"), allowed, f"{at}['type']")
    shapes.only(header, ("type", what), at)
    if what == "text":
        return {"header": shapes.text(header, "text", at, high=60)}
    return {"header_media": shapes.media(shapes.table(header, what, at), what, f"{at}['{what}']")}


def _buttons(action: dict[str, Any]) -> dict[str, Any]:
    shapes.only(action, ("buttons",), _ACTION)
    shown: list[dict[str, Any]] = []
    for index, button in enumerate(shapes.rows(action, "buttons", _ACTION, low=1, high=3)):
        at = f"{_ACTION}['buttons'][{index}]"
        shapes.only(button, ("type", "reply"), at)
        shapes.one_of(button.get("type"), ("reply",), f"{at}['type']")
        reply = shapes.table(button, "reply", at)
        shapes.only(reply, ("id", "title"), f"{at}['reply']")
        shown.append(
            {
                "kind": "reply",
                "id": shapes.text(reply, "id", f"{at}['reply']", high=256),
                "title": shapes.text(reply, "title", f"{at}['reply']", high=20),
            }
        )
    for name in ("id", "title"):
        if len({one[name] for one in shown}) < len(shown):
            raise GraphError(131009, f"The buttons must have different values of {name}.")
    return {"buttons": shown}


def _list(action: dict[str, Any]) -> dict[str, Any]:
    shapes.only(action, ("button", "sections"), _ACTION)
    label = shapes.text(action, "button", _ACTION, high=20)
    sections, total, ids = shapes.rows(action, "sections", _ACTION, low=1, high=10), 0, set()
    for index, section in enumerate(sections):
        at = f"{_ACTION}['sections'][{index}]"
        shapes.only(section, ("title", "rows"), at)
        shapes.text(section, "title", at, high=24, required=len(sections) > 1)
        for place, row in enumerate(shapes.rows(section, "rows", at, low=1, high=10)):
            where = f"{at}['rows'][{place}]"
            shapes.only(row, ("id", "title", "description"), where)
            ids.add(shapes.text(row, "id", where, high=200))
            shapes.text(row, "title", where, high=24)
            shapes.text(row, "description", where, high=72, required=False)
            total += 1
    if total > 10:
        raise GraphError(131009, f"Total row count exceed max allowed count: 10, got {total}.")
    if len(ids) < total:
        raise GraphError(131009, "The rows must have different values of id.")
    return {"list": {"button": label, "sections": sections}}


def _cta_url(action: dict[str, Any]) -> dict[str, Any]:
    shapes.only(action, ("name", "parameters"), _ACTION)
    shapes.one_of(action.get("name"), ("cta_url",), f"{_ACTION}['name']")
    at = f"{_ACTION}['parameters']"
    parameters = shapes.table(action, "parameters", _ACTION)
    shapes.only(parameters, ("display_text", "url"), at)
    title = shapes.text(parameters, "display_text", at, high=20)
    url = shapes.link(shapes.text(parameters, "url", at), f"{at}['url']")
    return {"buttons": [{"kind": "url", "title": title, "url": url}]}


def _request(name: str, title: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def rule(action: dict[str, Any]) -> dict[str, Any]:
        shapes.only(action, ("name",), _ACTION)
        shapes.one_of(action.get("name"), (name,), f"{_ACTION}['name']")
        return {"buttons": [{"kind": name, "title": title}]}

    return rule


_ACTIONS = {
    "button": _buttons,
    "list": _list,
    "cta_url": _cta_url,
    "location_request_message": _request("send_location", "Send location"),
    "request_contact_info": _request("request_contact_info", "Share contact info"),
}
