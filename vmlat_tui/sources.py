"""Where the files of this program are: in a checkout, installed, or unpacked on another host.

Standard library only; importable from every layer.
"""

from __future__ import annotations

from pathlib import Path

from vmlat_tui.errors import VmlatError

#: The directory of the Python sources.
PACKAGE = Path(__file__).resolve().parent


def bpf_directory() -> Path:
    """Where the C sources are: beside the package in a checkout, inside it when installed."""
    for candidate in (PACKAGE.parent / "bpf", PACKAGE / "_bpf"):
        if (candidate / "path.bpf.c").is_file():
            return candidate
    raise VmlatError("the BPF sources are missing", f"no bpf/ by {PACKAGE}", "install again")
