"""Of the tests that run inside hypervisor A of the lab's scenario ``pair``."""

import os
from typing import Any

import pytest

from tests.lab.conftest import leave_out, pytest_configure, pytest_runtest_logreport

__all__ = ["pytest_configure", "pytest_runtest_logreport"]


def pytest_collection(session: Any) -> None:
    """Refuse to run anywhere else: a skipped test would look like a passed one."""
    if os.environ.get("VMLAT_LAB_SCENARIO") != "pair":
        raise pytest.UsageError(
            "tests/lab_pair runs only in the scenario pair: "
            "python3 -m vmlat_tui lab run --scenario pair -- python3 -m pytest tests/lab_pair"
        )


def pytest_collection_modifyitems(config: Any, items: Any) -> None:
    leave_out(config, items)
