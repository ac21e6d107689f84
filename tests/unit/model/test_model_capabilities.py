"""The table of capabilities: which kernel has a use for one, and that the document is the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlat_tui.discover.capabilities import names
from vmlat_tui.model.capabilities import (
    BPF,
    CAPABILITIES,
    PERFMON,
    SYS_RESOURCE,
    SYSLOG,
    Use,
)

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "privileges.md"


@pytest.mark.parametrize(
    ("release", "of_locked_memory"),
    [
        ("5.10.0-28-amd64", True),
        ("5.11-rc3", False),
        ("6.1.0-18-amd64", False),
        ("4.18.0-477.10.1.el8_8.x86_64", True),
        ("10.0.0", False),
        ("unknown", True),
    ],
)
def test_a_kernel_has_a_use_for_some(release: str, of_locked_memory: bool) -> None:
    assert SYS_RESOURCE.useful(release) is of_locked_memory
    assert BPF.useful(release)


def test_names_make_a_sentence() -> None:
    assert names(()) == ""
    assert names((BPF,)) == "CAP_BPF"
    assert names((BPF, PERFMON)) == "CAP_BPF and CAP_PERFMON"
    assert names((BPF, PERFMON, SYSLOG)) == "CAP_BPF, CAP_PERFMON and CAP_SYSLOG"


def test_the_document_has_the_table() -> None:
    uses = {Use.KEPT: "kept", Use.APART: "apart", Use.START: "at the start"}
    rows = [
        f"| `{one.name}` | {uses[one.use]} | {one.purpose} | {one.loss} |" for one in CAPABILITIES
    ]
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "\n".join(rows) in text
