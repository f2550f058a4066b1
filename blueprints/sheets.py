"""What an agent fills in to send a template: its variables by component, and the text that the customer will read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """One gap in a template; `field` names its input."""

    component: str
    name: str

    @property
    def field(self) -> str:
        return f"value:{self.component}:{self.name}"

    @property
    def label(self) -> str:
        place = {"body": "", "header": " in the heading"}.get(self.component, " in the button’s link")
        return f"Value {self.name}{place}" if self.name.isdigit() else f"{self.name.replace('_', ' ')}{place}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A template as it is shown: heading, body and small print, with the gaps still in them."""

    name: str
    language: str
    category: str
    header: str
    body: str
    footer: str
    variables: tuple[Variable, ...]
    needs_file: bool

    def values(self, form: Mapping[str, str]) -> dict[str, list[str]]:
        """Read the values by component, in the order in which the text has them."""
        found: dict[str, list[str]] = {}
        for variable in self.variables:
            found.setdefault(variable.component, []).append(form.get(variable.field, "").strip())
        return found

    def text(self, form: Mapping[str, str]) -> str:
        """Give what the customer will read."""
        parts = (("header", self.header), ("body", self.body), ("", self.footer))
        return "\n\n".join(self._filled(component, text, form) for component, text in parts if text)

    @staticmethod
    def _filled(component: str, text: str, form: Mapping[str, str]) -> str:
        return _VARIABLE.sub(lambda gap: form.get(f"value:{component}:{gap[1]}", gap[0]), text)


def sheet(template: Any) -> Sheet:
    """Read a template as its provider describes it; parts that we do not know are left out."""
    details = template.details if isinstance(template.details, dict) else {}
    components = [part for part in details.get("components") or () if isinstance(part, dict)]
    parts = {str(part.get("type", "")).lower(): part for part in components}
    header, body = parts.get("header", {}), str(parts.get("body", {}).get("text") or "")
    heading = str(header.get("text") or "") if header.get("format", "TEXT") == "TEXT" else ""
    variables = [*_gaps("header", heading), *_gaps("body", body)]
    for place, button in enumerate(parts.get("buttons", {}).get("buttons") or ()):
        variables += _gaps(f"button:{place}", str(button.get("url") or "") if isinstance(button, dict) else "")
    return Sheet(
        name=template.name,
        language=template.language,
        category=str(details.get("category") or "").capitalize(),
        header=heading,
        body=body,
        footer=str(parts.get("footer", {}).get("text") or ""),
        variables=tuple(variables),
        needs_file=header.get("format") in ("IMAGE", "VIDEO", "DOCUMENT"),
    )


def _gaps(component: str, text: str) -> list[Variable]:
    return [Variable(component, name) for name in dict.fromkeys(_VARIABLE.findall(text))]
