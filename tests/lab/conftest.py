"""Fixtures of the tests that run inside the lab's hypervisor.

    python3 -m vmlat_tui lab run --kernel 6.1 -- python3 -m pytest tests/lab -q

A change of scenario takes some 15 s, an unchanged one nothing: the tests of all modules run
grouped by the scenario that they name, in a mark or as the parameter ``name``.  An agent's start
takes 8 s: one lives through all tests that use the fixture ``measuring``.  They come last in each
scenario, and who has agents of its own, or looks for what they leave, is in the first scenario.
Only what pytest 6.0 has may be used here: Debian 11 comes with that.
"""

import shlex
from typing import Any

import pytest

from tests.lab.running import SharedAgent
from vmlat_tui.lab import inside, scenarios
from vmlat_tui.lab.hypervisor import boot
from vmlat_tui.lab.releases import DEFAULT_KERNEL

#: These run on the oldest kernel only: the later ones have the same hooks there.
_OLDEST, _OF_THE_OLDEST = "5.10", ("qinq", "bond")

_shared = SharedAgent()


def pytest_configure(config: Any) -> None:
    """Refuse to run anywhere else: a skipped test would look like a passed one."""
    config.addinivalue_line("markers", "scenario(name): set up this scenario of the lab first")
    config.addinivalue_line("markers", "once: no matter of the kernel, so on the default one only")


def pytest_collection(session: Any) -> None:
    if not inside.is_inside():
        raise pytest.UsageError(
            "tests/lab runs only inside the lab's hypervisor: "
            "python3 -m vmlat_tui lab run --kernel 6.1 -- python3 -m pytest tests/lab"
        )


def pytest_runtest_logreport(report: Any) -> None:
    """Say at once why a test failed: at the end the machine may no longer be there to say it."""
    if report.failed:
        print(f"\n{report.nodeid}: {report.when} failed\n{report.longreprtext[-3000:]}", flush=True)


def leave_out(config: Any, items: Any) -> None:
    """Take out what runs on another kernel."""
    elsewhere = [item for item in items if _is_elsewhere(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


def _is_elsewhere(item: Any) -> bool:
    once = boot.kernel() != DEFAULT_KERNEL and item.get_closest_marker("once")
    return bool(once) or (boot.kernel() != _OLDEST and _scenario_of(item) in _OF_THE_OLDEST)


def pytest_collection_modifyitems(config: Any, items: Any) -> None:
    leave_out(config, items)
    order = list(scenarios.SCENARIOS)
    items.sort(key=lambda item: (order.index(_scenario_of(item)), "measuring" in item.fixturenames))


def pytest_sessionfinish() -> None:
    _shared.end()


def _scenario_of(item: Any) -> str:
    mark = item.get_closest_marker("scenario")
    if mark:
        return str(mark.args[0])
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return str(parameters.get("name", scenarios.DEFAULT_SCENARIO))


@pytest.fixture
def measuring() -> Any:
    """Return ``measuring(filters=..., max_rate=...)``, which measures the body of a ``with``."""
    return _shared.measuring


@pytest.fixture
def scenario() -> Any:
    """Return ``scenario(name, again=False) -> inside.Lab``, which changes only when needed."""
    return inside.switch


@pytest.fixture
def lab(request: Any) -> Any:
    """Return the lab in the scenario that the test's mark names (default: as it is)."""
    mark = request.node.get_closest_marker("scenario")
    return inside.switch(mark.args[0]) if mark else inside.lab()


@pytest.fixture
def guest() -> Any:
    """Return ``guest(domain, shell command, seconds=60) -> Completed``; never uses the network."""

    def run(domain: Any, command: Any, stdin: bytes = b"", seconds: float = 60.0) -> Any:
        return inside.guest(domain, command, stdin, seconds)

    return run


@pytest.fixture
def remote() -> Any:
    """Return ``remote(command line or list, seconds=60) -> Completed`` in the remote namespace."""

    def run(command: Any, seconds: float = 60.0) -> Any:
        return inside.remote(shlex.split(command) if isinstance(command, str) else command, seconds)

    return run
