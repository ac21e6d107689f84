"""An input that takes all memory fails; it does not take the machine's."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

_MOST = 4 << 30


@pytest.fixture(autouse=True, scope="session")
def bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
