"""Schemathesis reads the OpenAPI document and tries what it allows and what it forbids, operation by operation."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from blueprints.api.routing import OPERATIONS, Operation
from models import db
from services import businesses, keys
from tests.api.calls import world

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def key(app: Flask) -> str:
    """A key for everything of a business that has one of everything."""
    with app.app_context():
        business = businesses.create("Fuzz")
        _, text = keys.create(business, "fuzz", ["admin"])
        db.session.commit()
        world(business)
    return text


@pytest.fixture(scope="module")
def document(app: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/api-docs/openapi.json", app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{item.method} {item.path}" for item in OPERATIONS])
def test_an_operation_keeps_to_the_document(
    operation: Operation, mode: GenerationMode, document: Any, key: str
) -> None:
    # A batch answers 200 and says of each record what is wrong with it.
    skipped = [negative_data_rejection] if "/api-customers-" in operation.path else []

    @given(case=document[operation.path][operation.method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def keeps(case: Any) -> None:
        assume(not (operation.streams and "stream" in case.query))  # it would not end
        case.call_and_validate(headers={"x-api-key": key}, checks=[check for check in CHECKS if check not in skipped])

    keeps()
