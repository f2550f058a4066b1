"""The house tests its own rules: floors, guards, job names, migrations, settings, sizes and names."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

import config
import jobs
import worker
from app import FRONT_DOOR
from models import db

ROOT = Path(__file__).parent.parent
ROOMS = ("blueprints", "services", "channels", "lib", "embedded", "sandbox", "demo")
TOP = {path.stem for path in ROOT.glob("*.py")}
OURS = TOP | set(ROOMS) | {"bench", "tests"}

# room → what it may import of ours. The arrows only go down.
FLOORS = {
    "lib": {"lib", "errors"},
    "errors": set(),
    "config": set(),
    "models": {"lib"},
    "jobs": {"models", "lib"},
    "channels": {"channels", "lib", "errors"},
    "services": {"services", "models", "jobs", "channels", "lib", "errors"},
    "blueprints": {"blueprints", "services", "models", "jobs", "lib", "errors"},
    "app": {"blueprints", "channels", "cli", "config", "errors", "jobs", "lib", "models"},
    "listen": set(),
    "cli": OURS - {"worker", "run", "tests", "bench"},
    "demo": OURS - {"worker", "run", "tests", "bench", "cli"},
    "dispatch": {"channels", "services", "models", "jobs"},
    "drain": {"services", "models", "lib", "errors"},
    "mailroom": {"channels", "services", "models", "lib", "errors"},
    "worker": OURS - {"run", "tests", "bench", "cli"},
    "run": {"embedded", "supervisor"},
    "supervisor": {"embedded"},
    "embedded": {"embedded"},
    "sandbox": {"sandbox"},
}
SERVICE_ORDER = [
    "payloads",
    "events",
    "webhooks",
    "deliveries",
    "identities",
    "customer_fields",
    "customer_rows",
    "customer_sync",
    "customers",
    "customer_lifecycle",
    "same_people",
    "channel_accounts",
    "conversations",
    "threads",
    "opt_outs",
    "reach",
    "messages",
    "changes",
    "receipts",
    "pacing",
    "outbound",
    "echoes",
    "arrivals",
    "inbound",
    "mailboxes",
]
BANNED_AT_ROOT = {"queue", "email", "http", "types", "secrets", "select", "token"}


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        folder = ROOT / room
        yield from sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("room", sorted(name for name in FLOORS if (ROOT / name).exists() or name in TOP))
def test_a_room_imports_only_from_the_floors_below(room: str) -> None:
    for path in sources(room):
        of_ours = {name.partition(".")[0] for name in imports(path)} & OURS
        assert of_ours <= FLOORS[room] | {room}, f"{path.relative_to(ROOT)} imports {of_ours - FLOORS[room]}"


def test_services_import_each_other_in_one_order() -> None:
    for place, name in enumerate(SERVICE_ORDER):
        later = {f"services.{other}" for other in SERVICE_ORDER[place + 1 :]}
        assert not imports(ROOT / f"services/{name}.py") & later, name


def test_services_know_neither_the_request_nor_the_network_and_never_commit() -> None:
    for path in sources("services"):
        text = path.read_text()
        assert not re.search(r"\bcommit\(\)|\brollback\(\)", text), path.name
        assert not re.search(r"from flask import .*\b(request|session|g)\b", text), path.name
        assert not any(name.startswith("lib.fetch") for name in imports(path)), path.name


def test_channels_know_no_database_and_no_flask() -> None:
    for path in sources("channels"):
        assert not {"flask", "sqlalchemy", "models"} & {name.partition(".")[0] for name in imports(path)}, path.name


def test_nothing_but_the_outbound_door_opens_a_connection() -> None:
    clients = {
        "urllib3",
        "requests",
        "httpx",
        "aiohttp",
        "http.client",
        "urllib.request",
        "socket",
        "smtplib",
        "imaplib",
    }
    # Names of types for annotations, and resolving nothing, are no connections.
    allowed = {"drain.py": {"aiohttp"}}
    for path in sources(
        "services", "blueprints", "channels", "app", "worker", "cli", "drain", "mailroom", "jobs", "models"
    ):
        used = {name for name in imports(path) if name in clients or name.partition(".")[0] in clients}
        used -= {name for name in used if name.partition(".")[0] in allowed.get(path.name, set())}
        assert not used, f"{path.relative_to(ROOT)} uses {used}; go through lib.fetch"


def test_blueprints_build_no_queries() -> None:
    for path in sources("blueprints"):
        names = imports(path)
        assert not any(name.startswith("sqlalchemy") and not name.startswith("sqlalchemy.exc") for name in names), path


def test_every_blueprint_stands_in_the_front_door_with_a_guard(app: Flask) -> None:
    listed = {blueprint.name: guard for blueprint, guard in FRONT_DOOR}
    for name in app.blueprints:
        parent = name.partition(".")[0]
        assert name in listed or parent in listed, f"{name} has no guard in app.FRONT_DOOR"
    assert all(callable(guard) for guard in listed.values())


def test_every_job_name_is_a_function_of_the_worker_that_takes_ids() -> None:
    for name in jobs.QUEUES:
        step = getattr(worker, name)
        assert all(item.annotation == "str" for item in inspect.signature(step).parameters.values()), name
    grouped = {queue for queues in worker.GROUPS.values() for queue in queues}
    assert grouped == set(jobs.QUEUES.values())


def test_migrations_make_what_the_models_say(app: Flask) -> None:
    with app.app_context():
        assert compare_metadata(MigrationContext.configure(db.session.connection()), db.metadata) == []


def test_every_table_but_the_businesses_belongs_to_one() -> None:
    for table in db.metadata.sorted_tables:
        if table.name != "businesses":
            assert "business_id" in table.primary_key.columns, table.name
            for constraint in table.foreign_key_constraints:
                points_to_tenant = constraint.referred_table.name == "businesses"
                assert points_to_tenant or "business_id" in constraint.column_keys, f"{table.name}: {constraint.name}"


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs/operations.md").read_text() + (ROOT / ".env.example").read_text()
    for name, field in config.Settings.model_fields.items():
        assert str(field.alias) in documented, name


def test_sizes_stay_readable() -> None:
    long = []
    for path in sources(*ROOMS, *TOP):
        lines = len(path.read_text().splitlines())
        limit = 750 if path.name == "models.py" else 320
        if lines > limit:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for function in functions(path):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > 50:
                long.append(f"{path.relative_to(ROOT)}: {function.name} has {length} lines")
    assert not long


def test_templates_stay_short() -> None:
    long = {
        path.name: n for path in (ROOT / "templates").rglob("*.html") if (n := len(path.read_text().splitlines())) > 100
    }
    assert not long


def test_no_name_at_the_root_shadows_the_standard_library() -> None:
    assert not TOP & BANNED_AT_ROOT


def test_modules_say_what_lives_in_them() -> None:
    for path in sources(*ROOMS, *TOP):
        if path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), path.relative_to(ROOT)


def test_nothing_is_left_for_later() -> None:
    for path in sources(*ROOMS, *TOP):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path.relative_to(ROOT)
