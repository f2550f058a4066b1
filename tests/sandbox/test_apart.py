"""The sandbox is the other side: it knows nothing of the product, and little of anything else."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2] / "sandbox"
LIGHT = {"flask", "gevent", "markupsafe", "sandbox", "werkzeug"}


def test_the_sandbox_shares_no_code_with_the_product_and_imports_little():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in LIGHT or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_rooms_never_import_each_other():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {
        "meta",
        "messaging",
    }  # what several rooms stand on
    for room in rooms:
        for path in (ROOT / room).glob("*.py"):
            others = [other for other in rooms - {room} if f"sandbox.{other}" in path.read_text()]
            assert others == [], path
