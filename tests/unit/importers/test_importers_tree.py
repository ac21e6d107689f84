"""A directory to analyse that somebody else can write: nothing outside of it is read."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.pings import logs, pings
from tests.support.pings import write as write_logs
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.errors import UsageError
from vmlat_tui.importers import directory, tree
from vmlat_tui.importers.directory import Ends, Imported


def read(*paths: Path) -> Imported:
    return directory.read(paths, Collection(), Ends())


def names(found: Imported) -> list[str]:
    return [source.text.path.name for source in found.sources]


def test_links_lead_nowhere_and_are_named(tmp_path: Path) -> None:
    secret = write_logs(tmp_path / "secret", logs(pings(1)))
    top = tmp_path / "top"
    top.mkdir()
    (top / "x.log").write_text("x")
    (top / "link.log").symlink_to(next(secret.iterdir() if secret.is_dir() else iter([secret])))
    (top / "below").symlink_to(tmp_path / "secret")
    os.mkfifo(top / "pipe.log")
    found = read(top)
    assert names(found) == ["x.log"]
    said = sorted(found.unreadable)
    assert [line.split("/")[-1] for line in said] == [
        "below is a link, which is not followed",
        "link.log is a link, which is not followed",
        "pipe.log is not a regular file",
    ]
    assert names(read(top / "link.log")) == ["link.log"], "who names it chooses it"


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (top / "in" / "x.log").write_text("x")
    found_files = directory.files

    def swapped(*arguments: object) -> object:
        found = found_files(*arguments)  # type: ignore[arg-type]
        (top / "in").rename(tmp_path / "away")
        (top / "in").mkdir()
        (top / "in" / "x.log").symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(directory, "files", swapped)
    found = read(top)
    assert not found.sources and "x.log is not a regular file" in found.unreadable[0]


def deep(top: Path, depth: int) -> None:
    """Deeper than a path can be long."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("dddddddd", dir_fd=here)
        below = os.open("dddddddd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_deep_tree_is_read_so_far(tmp_path: Path) -> None:
    deep(tmp_path / "top", 3000)
    (tmp_path / "top" / "x.log").write_text("x")
    found = read(tmp_path / "top")
    assert names(found) == ["x.log"]
    (said,) = found.unreadable
    assert "directories deep" in said and len(said) < 1000
    subprocess.run(["rm", "-r", str(tmp_path / "top")], check=True)


def test_of_much_that_is_left_out_some_is_named(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}").symlink_to("/")
    (*_, last) = said = read(tmp_path).unreadable
    assert len(said) == 21 and last == "30 more were left out"


@pytest.mark.parametrize("path", ["n" * 300, "/nowhere", "/dev/null/x"])
def test_a_path_that_is_none_is_one_line(path: str) -> None:
    with pytest.raises(UsageError, match="there is no"):
        read(Path(path))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_huge_directory_is_refused_soon(
    hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_ENTRIES", 2000)
    for number in range(3000):
        (tmp_path / f"{'.' if hidden else ''}{number}").touch()
    begin = time.monotonic()
    with pytest.raises(UsageError, match=r"has more than \d+ (files|entries)"):
        read(tmp_path)
    assert time.monotonic() - begin < 2


def test_a_directory_that_becomes_a_link_meanwhile_is_named_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (top / "x.log").write_text("x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "y.log").write_text("y")
    kinds = tree._kinds

    def swapped(where: Path, place: tuple[str, ...], most: int) -> dict[str, int]:
        found = kinds(where, place, most)
        if not place:
            (top / "in").rmdir()
            (top / "in").symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(tree, "_kinds", swapped)
    found = read(top)
    assert names(found) == ["x.log"]
    assert found.unreadable == [f"{top / 'in'} cannot be opened: Not a directory"]
