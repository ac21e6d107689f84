"""Fixtures of the native tests: this kernel, at full speed, as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

import pytest

from tests.native.meter import Meter
from tests.native.net import Bed
from tests.native.tracefs import tracefs
from tests.native.witness import Witness
from vmlat_tui.probes import ladder
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
from vmlat_tui.probes.ladder import Kernel


@pytest.fixture(scope="session", autouse=True)
def root() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.fail("the native tests load BPF programs: run them as root", pytrace=False)
    with tracefs():
        yield


@pytest.fixture(scope="session")
def kernel(root: None) -> Kernel:
    found = ladder.inspect()
    assert found.rung != ladder.NONE, found.btf_problem
    return found


@pytest.fixture(scope="module")
def engine(kernel: Kernel) -> Iterator[PathEngine]:
    """Compiled once for a module; on every machine the tracepoint rung."""
    made = PathEngine(kernel, Limits(), functions=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_bed() -> Iterator[Bed]:
    with Bed() as made:
        yield made


@pytest.fixture
def bed(module_bed: Bed) -> Iterator[Bed]:
    """The module's network, as it was made."""
    yield module_bed
    module_bed.unhold()
    module_bed.tap.drain()


@pytest.fixture
def meter(engine: PathEngine, bed: Bed) -> Iterator[Meter]:
    made = Meter(engine, bed)
    yield made
    engine.configure(Settings(directions=()))
    made.forget()


_TRIES = 4


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Repeat a failed test if, and only if, the kernel kept packets' hits from the programs
    meanwhile; see :mod:`tests.native.witness`."""
    engine = pyfuncitem.funcargs.get("engine")
    if not isinstance(engine, PathEngine):
        return None
    arguments = {n: pyfuncitem.funcargs[n] for n in pyfuncitem._fixtureinfo.argnames}
    for number in range(_TRIES):
        witness = Witness(engine)
        try:
            pyfuncitem.obj(**arguments)
            return True
        except AssertionError:
            if number == _TRIES - 1 or not witness.hidden():
                raise
        finally:
            witness.close()
    return True
