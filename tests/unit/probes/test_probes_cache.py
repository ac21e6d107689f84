"""The cache of compiled programs: where it may be, what of it is believed, and what is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.probes import cache, compiler

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where it is."""
    monkeypatch.setenv("VMLAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_taken", set())
    yield tmp_path / "cache"
    cache.take_problem()


def entries(base: Path) -> list[Path]:
    return sorted((base / "bpf").iterdir())


def test_what_is_stored_is_found_under_its_key_and_no_other(base: Path) -> None:
    assert cache.load(KEY) is None
    cache.store(KEY, b"{}")
    assert cache.load(KEY) == b"{}" and cache.load(OTHER) is None
    (entry,) = entries(base)
    entry.rename(entry.with_name(f"{OTHER[:32]}.json"))
    assert cache.load(OTHER) is None, "it is another's content"
    assert cache.take_problem() is None


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b"null", b'{"format": 1}'])
def test_what_cannot_be_used_is_made_again(
    content: bytes, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def compile_all(requests: list[dict[str, Any]], what: str) -> list[Any]:
        made.append(what)
        return [{"lengths": {"x": 4}}]

    monkeypatch.setattr(compiler, "compile_all", compile_all)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "5.0", "", "")))
    assert compiler.header_layout("text") == {"x": 4}
    (entry,) = entries(base)
    entry.write_bytes(content)
    assert compiler.header_layout("text") == {"x": 4} and len(made) == 2
    assert compiler.header_layout("text") == {"x": 4} and len(made) == 2, "and kept"


def test_only_the_newest_are_kept_whatever_left_the_others(base: Path) -> None:
    cache.store(KEY, b"{}")
    for number in range(12):
        (base / "bpf" / f".vmlat-{number}").write_text("of a killed program")
        os.utime(base / "bpf" / f".vmlat-{number}", (number, number))
    for number in range(10):
        cache.store(f"{number:064}"[::-1], b"{}")
    names = [path.name for path in entries(base)]
    assert len(names) == 8 and not any(name.startswith(".vmlat") for name in names)


@pytest.mark.parametrize("which", ["cache", "cache/bpf"])
@pytest.mark.parametrize("spoil", ["others can write to it", "it belongs to user 65533"])
def test_a_directory_of_others_is_not_used_and_that_is_said_once(
    spoil: str, which: str, base: Path
) -> None:
    cache.store(KEY, b"{}")
    place = base.parent / which
    if spoil.startswith("others"):
        place.chmod(0o777)
    else:
        os.chown(place, 65533, 65533)
    assert cache.load(KEY) is None
    cache.store(OTHER, b"{}")
    assert [path.name for path in entries(base)] == [f"{KEY[:32]}.json"]
    problem = cache.take_problem()
    assert problem is not None and f"{place} is not trusted: {spoil}; set VMLAT_CACHE" in problem
    cache.load(KEY)
    assert cache.take_problem() is None


def test_a_link_that_others_have_made_is_not_followed(base: Path) -> None:
    target = base.parent / "precious"
    target.mkdir(0o700)
    base.symlink_to(target)
    os.lchown(base, 65533, 65533)
    cache.store(KEY, b"{}")
    assert not list(target.iterdir()) and "is not trusted" in str(cache.take_problem())


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null", "{}/file/x"])
def test_where_nothing_can_be_kept_nothing_is_said(
    place: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base.parent / "file").touch()
    monkeypatch.setenv("VMLAT_CACHE", place.format(base.parent))
    cache.store(KEY, b"{}")
    assert cache.load(KEY) is None and cache.take_problem() is None
