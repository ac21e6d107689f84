"""The set-up notices an environment that is not what it installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import verify_venv

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def info(tmp_path: Path) -> Path:
    """Installs a project ``Some_Thing`` 1.0 of one module."""
    directory = tmp_path / "Some_Thing-1.0.dist-info"
    directory.mkdir()
    (tmp_path / "thing.py").write_text("x = 1\n")
    (directory / "RECORD").write_text(
        "thing.py,sha256=x,6\n"
        "__pycache__/thing.cpython-311.pyc,,\n"
        "Some_Thing-1.0.dist-info/RECORD,,\n"
    )
    return directory


def test_lock_is_exact_and_names_nothing_of_the_distribution() -> None:
    wanted = verify_venv.locked(ROOT / "requirements-dev.txt")
    assert {"textual", "pyroute2", "ruff", "mypy", "pytest"} <= set(wanted)
    assert all(version and version[0].isdigit() for version in wanted.values())
    assert not {"bcc", "libvirt", "libvirt-python"} & set(wanted)


def test_every_locked_release_is_pinned_by_digest() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text().replace("\\\n", " ").splitlines()
    releases = [line.split() for line in lines if line and not line.startswith("#")]
    assert len(releases) == len(verify_venv.locked(ROOT / "requirements-dev.txt"))
    assert all(digests and all(d.startswith("--hash=sha256:") for d in digests)
               for _, *digests in releases)  # fmt: skip
    assert "--require-hashes" in (ROOT / "tools/setup.sh").read_text()


def test_installed_projects_are_found_by_their_normalized_name(info: Path) -> None:
    assert verify_venv.installed(info.parent) == {"some-thing": ("1.0", info)}


def test_whole_project_has_no_damage_although_its_bytecode_is_gone(info: Path) -> None:
    assert verify_venv.damaged_file(info) is None


def test_deleted_file_is_noticed(info: Path) -> None:
    (info.parent / "thing.py").unlink()
    assert verify_venv.damaged_file(info) == info.parent / "thing.py"


def test_truncated_file_is_noticed(info: Path) -> None:
    (info.parent / "thing.py").write_text("x")
    assert verify_venv.damaged_file(info) == info.parent / "thing.py"


def test_lost_record_is_noticed(info: Path) -> None:
    (info / "RECORD").unlink()
    assert verify_venv.damaged_file(info) == info / "RECORD"
