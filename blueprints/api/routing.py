"""The table of the JSON API's operations: what each file of this package declares, `__init__` serves, `document` tells.

A view says by its annotations what it reads: `query: SomeQuery` and `body: SomeBody` are models, read and checked
before it runs; `body: Document[SomeBody]` is documented by the model and handed over as the plain document.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from flask import Response, current_app, request
from pydantic import BaseModel

from blueprints.api import once, parsing

View = Callable[..., Response]
ERRORS = (400, 401, 403, 422, 429, 503)  # what every operation may answer


class Document:
    """`Document[Model]`: a JSON object that a verb checks itself, documented by a model."""

    def __class_getitem__(cls, model: type[BaseModel]) -> Any:
        return Annotated[dict[str, Any], model]


class Batch:
    """`Batch[Model]`: likewise, with records that are checked one by one, so that a bad one spoils no other."""

    def __class_getitem__(cls, model: type[BaseModel]) -> Any:
        return Annotated[dict[str, Any], model, cls]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    scope: str
    tag: str
    view: View
    run: View
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    answers: tuple[type[BaseModel], ...]
    status: int
    errors: tuple[int, ...]
    upload: bool
    streams: bool

    @property
    def name(self) -> str:
        return f"{self.view.__module__.rpartition('.')[2]}_{self.view.__name__}"


OPERATIONS: list[Operation] = []  # all of them, put together in `__init__`


@dataclass(frozen=True, slots=True)
class Routes:
    """The operations of one resource; `tag` is its heading in the reference."""

    tag: str
    operations: list[Operation] = field(default_factory=list)

    def get(self, path: str, **options: Any) -> Callable[[View], View]:
        return self._add("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[View], View]:
        return self._add("POST", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[View], View]:
        return self._add("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[View], View]:
        return self._add("DELETE", path, **options)

    def _add(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        answer: type[BaseModel] | Sequence[type[BaseModel]],
        status: int = 200,
        errors: Sequence[int] = (),
        upload: bool = False,
        streams: bool = False,
    ) -> Callable[[View], View]:
        def declare(view: View) -> View:
            readers, query, body = _inputs(view)
            run = _runner(method, view, readers, upload)
            run.scope = scope  # type: ignore[attr-defined]
            answers = (answer,) if isinstance(answer, type) else tuple(answer)
            every = tuple(sorted({*ERRORS, *errors, *((413, 415) if body or upload else ())}))
            self.operations.append(
                Operation(
                    method, path, scope, self.tag, view, run, query, body, answers, status, every, upload, streams
                )
            )
            return view

        return declare


def _inputs(view: View) -> tuple[dict[str, Callable[[], Any]], Any, Any]:
    """Find out what a view reads, and how."""
    hints = get_type_hints(view, include_extras=True)
    readers: dict[str, Callable[[], Any]] = {}
    models: dict[str, Any] = {"query": None, "body": None}
    for name in inspect.signature(view).parameters:
        hint = hints[name]
        if get_origin(hint) is Annotated:
            _, models[name], *kind = get_args(hint)
            readers[name] = parsing.unchecked_body if kind else parsing.body
        else:
            models[name] = hint
            readers[name] = _query_reader(hint) if name == "query" else _body_reader(hint)
    return readers, models["query"], models["body"]


def _query_reader(model: type[BaseModel]) -> Callable[[], Any]:
    return lambda: parsing.query(model)


def _body_reader(model: type[BaseModel]) -> Callable[[], Any]:
    return lambda: parsing.validate(model, parsing.body())


def _runner(method: str, view: View, readers: dict[str, Callable[[], Any]], upload: bool) -> View:
    def act() -> Response:
        return view(**{name: read() for name, read in readers.items()})

    def write() -> Response:
        if not upload:
            request.max_content_length = current_app.extensions["settings"].api_max_body
        return once.run(act)

    return (lambda: once.read(act)) if method == "GET" else write
