"""What others can write is not on the path, and few variables reach what runs as root."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vmlat_tui import programs
from vmlat_tui.sources import PACKAGE


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of ours, as programs have them."""
    made = tmp_path / "bin"
    made.mkdir(mode=0o755)
    return made


def test_a_directory_of_ours_is_kept_and_named_by_where_it_really_is(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(place)
    assert programs.ours(str(link)) == str(place)
    monkeypatch.setenv("PATH", f"{link}:/usr/bin")
    assert programs.path() == f"{place}:/usr/bin:/usr/sbin:/sbin:/bin"


@pytest.mark.parametrize("bits", [stat.S_IWOTH, stat.S_IWGRP, stat.S_IWOTH | stat.S_ISVTX])
def test_what_others_can_write_is_not_on_the_path(place: Path, bits: int) -> None:
    place.chmod(0o755 | bits)
    assert programs.ours(str(place)) is None


def test_nor_what_stands_in_such_a_directory(place: Path) -> None:
    inner = place / "inner"
    inner.mkdir()
    place.chmod(0o777)
    assert programs.ours(str(inner)) is None
    place.chmod(0o1777)  # as /tmp: what is ours stays ours
    assert programs.ours(str(inner)) == str(inner)


@pytest.mark.parametrize("name", ["", ".", "bin", "/nowhere/at/all", "/etc/passwd"])
def test_nor_what_is_no_directory_or_depends_on_the_current_one(name: str) -> None:
    assert programs.ours(name) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_nor_what_belongs_to_somebody_else(place: Path) -> None:
    os.chown(place, 65533, 65533)
    assert programs.ours(str(place)) is None


def test_variables_of_the_user_do_not_reach_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONPATH", "BCC_KERNEL_SOURCE", "CPATH", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/tmp")
    monkeypatch.setenv("VMLAT_CACHE", "/cache")
    clean = programs.environment()
    assert set(clean) <= {"PATH", "HOME", "VMLAT_CACHE", "XDG_RUNTIME_DIR"}
    assert clean["VMLAT_CACHE"] == "/cache" and clean["PATH"] == programs.SYSTEM_PATH


def test_an_isolated_interpreter_finds_this_package_and_nothing_of_the_current_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('hijacked')")
    line = programs.isolated("vmlat_tui.cli")
    assert line[0] == sys.executable
    done = subprocess.run(
        [*line, "--version"], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("vmlat ")
    assert str(PACKAGE.parent) in line
