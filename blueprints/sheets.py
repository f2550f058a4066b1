"""What an agent fills in to send a template: its variables by component, and the text that the customer will read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import Invalid

LONGEST = 1024  # characters of the body once filled in
FILES = {  # what a template's heading may be, how people call it, and which types of file that is
    "IMAGE": ("a picture", ("image/jpeg", "image/png")),
    "VIDEO": ("a video", ("video/mp4", "video/3gpp")),
    "DOCUMENT": ("a PDF", ("application/pdf",)),
}
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
        if self.component.endswith(":copy_code"):
            return "Coupon code of the button"
        place = {"body": "", "header": " in the heading"}.get(self.component, " in the button’s link")
        name = f"value {self.name}" if self.name.isdecimal() else self.name.replace("_", " ")
        return f"{name[:1].upper()}{name[1:]}{place}"

    def value(self, form: Mapping[str, str]) -> str:
        """Read what was entered; no template takes new lines, tabs or runs of spaces."""
        return " ".join(form.get(self.field, "").split())


@dataclass(frozen=True, slots=True)
class Sheet:
    """A template as it is shown: heading, body and small print, with the gaps still in them.

    `file` names the kind of file that its heading is, if it is one. `obstacle` says why it cannot be sent from here.
    """

    name: str
    language: str
    category: str
    header: str
    body: str
    footer: str
    variables: tuple[Variable, ...]
    named: bool
    file: str
    obstacle: str

    @property
    def is_plain(self) -> bool:
        """Say whether there is nothing to choose or to fill in."""
        return not (self.variables or self.file or self.obstacle)

    @property
    def file_label(self) -> str:
        return FILES[self.file][0]

    @property
    def accept(self) -> str:
        return ",".join(FILES[self.file][1])

    def check(self, form: Mapping[str, str], files: Sequence[Any]) -> None:
        """Refuse what the provider would: an empty value, a file too many or of the wrong kind, too long a text."""
        if self.obstacle:
            raise Invalid(self.obstacle, field="template")
        for variable in self.variables:
            if not variable.value(form):
                raise Invalid(f"Fill in “{variable.label}”.", code="required_field", field=variable.field)
        if not self.file and files:
            raise Invalid("This template takes no file.", code="template_files", field="attachment")
        if self.file and [file.mime in FILES[self.file][1] for file in files] != [True]:
            raise Invalid(f"This template begins with {self.file_label}: choose one.", field="attachment")
        if len(self._filled("body", self.body, form)) > LONGEST:
            raise Invalid(f"With these values the text is longer than {LONGEST} characters.", code="content_too_long")

    def values(self, form: Mapping[str, str]) -> dict[str, list[str] | dict[str, str]]:
        """Read the values by component: by name if the template's are named, else in the order of their numbers."""
        found: dict[str, list[str] | dict[str, str]] = {}
        for component in dict.fromkeys(variable.component for variable in self.variables):
            here = [variable for variable in self.variables if variable.component == component]
            given = {variable.name: variable.value(form) for variable in sorted(here, key=_number)}
            by_name = self.named and component in ("header", "body")  # a button has one value, and no name for it
            found[component] = given if by_name else list(given.values())
        return found

    def text(self, form: Mapping[str, str]) -> str:
        """Give what the customer will read."""
        parts = (("header", self.header), ("body", self.body), ("", self.footer))
        return "\n\n".join(self._filled(component, text, form) for component, text in parts if text)

    def pieces(self, component: str) -> Iterator[tuple[str, str]]:
        """Cut the heading or the body into what stands there for good and its gaps, these with their fields."""
        text, end = self.header if component == "header" else self.body, 0
        for gap in _VARIABLE.finditer(text):
            yield text[end : gap.start()], ""
            yield gap[0], Variable(component, gap[1]).field
            end = gap.end()
        yield text[end:], ""

    @staticmethod
    def _filled(component: str, text: str, form: Mapping[str, str]) -> str:
        return _VARIABLE.sub(lambda gap: Variable(component, gap[1]).value(form) or gap[0], text)


def sheet(template: Any) -> Sheet:
    """Read a template as its provider describes it; parts that we do not know are left out."""
    details = template.details if isinstance(template.details, dict) else {}
    components = [part for part in details.get("components") or () if isinstance(part, dict)]
    parts = {str(part.get("type", "")).lower(): part for part in components}
    header, body = parts.get("header", {}), str(parts.get("body", {}).get("text") or "")
    kind = str(header.get("format") or "TEXT").upper()
    heading = str(header.get("text") or "") if kind == "TEXT" else ""
    variables = [*_gaps("header", heading), *_gaps("body", body)]
    for place, button in enumerate(parts.get("buttons", {}).get("buttons") or ()):
        variables += _of_button(place, button) if isinstance(button, dict) else []
    return Sheet(
        name=template.name,
        language=template.language,
        category=str(details.get("category") or "").capitalize(),
        header=heading,
        body=body,
        footer=str(parts.get("footer", {}).get("text") or ""),
        variables=tuple(variables),
        named=str(details.get("parameter_format")).upper() == "NAMED",
        file=kind if kind in FILES else "",
        obstacle=""
        if kind in ("TEXT", *FILES)
        else f"It begins with a {kind.lower()}, which cannot be sent from here.",
    )


def _gaps(component: str, text: str) -> list[Variable]:
    return [Variable(component, name) for name in dict.fromkeys(_VARIABLE.findall(text))]


def _of_button(place: int, button: Mapping[str, Any]) -> list[Variable]:
    if str(button.get("type")).upper() == "COPY_CODE":
        return [Variable(f"button:{place}:copy_code", "1")]
    return _gaps(f"button:{place}", str(button.get("url") or ""))


def _number(variable: Variable) -> int:
    return int(variable.name) if variable.name.isdecimal() else 0
