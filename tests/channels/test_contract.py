"""The contract, run for every kind in the register."""

from __future__ import annotations

import pytest

import channels
from tests.channels import kinds
from tests.channels.contract import Contract
from tests.channels.counters import COUNTERS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "situation" in metafunc.fixturenames:
        metafunc.parametrize(("kind", "situation"), [(k, s) for k in channels.KINDS for s in kinds.situations(k)])
    elif "action" in metafunc.fixturenames:
        metafunc.parametrize(("kind", "action"), [(k, a) for k in channels.KINDS for a in COUNTERS[k].codes])
    else:
        metafunc.parametrize("kind", channels.KINDS)


class TestContract(Contract):
    pass
