"""Each parser on a fixed number of inputs, always the same, and on those that once failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.support import CORPUS, Target
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_only_errors_of_ours(target: Target) -> None:
    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=target.examples,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def every(data: bytes) -> None:
        target.attempt(data)

    every()
    assert target.figures.inputs >= target.examples
    assert target.figures.refused < target.figures.inputs, "nothing came past the first check"


KEPT = [(target, path) for target in TARGETS.values() for path in target.corpus]


@pytest.mark.parametrize(("target", "path"), KEPT, ids=[f"{t.name}/{p.name}" for t, p in KEPT])
def test_what_once_failed_does_not(target: Target, path: Path) -> None:
    target.attempt(path.read_bytes())


def test_each_kept_input_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= TARGETS.keys()
