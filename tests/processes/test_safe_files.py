"""Files where others may write: nothing is written or read by way of what they have put there."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import test_commands_ping
from tests.tui.sources import Frames
from tests.tui.streams import Stream
from tests.unit.commands import test_commands_record
from vmlat_tui import safe_files
from vmlat_tui.commands import show
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.export import sheets
from vmlat_tui.lab import releases, store
from vmlat_tui.lab.instances import Instances
from vmlat_tui.safe_files import TrustedDirectory, Untrusted, make_directory, new_file, open_regular
from vmlat_tui.session.feed import Feed

PRECIOUS = "nobody but its owner changes this\n"


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


# ---- every command that writes -------------------------------------------------------------------


def run(writer: str, tmp_path: Path, *words: str) -> tuple[int, str]:
    """Status and messages of ``record`` or ``ping``, which does not hang."""
    if writer == "record":
        child = test_commands_record.started(tmp_path, *words, "--duration", "0.3")
    else:
        far = test_commands_ping.Hosts(tmp_path)
        child = far.start(*test_commands_ping.MADE, "--count", "3", "-w", *words)
    try:
        return child.wait(30), child.communicate()[1]
    finally:
        child.kill()
        child.communicate()


def by_record(path: Path, tmp_path: Path) -> None:
    status, err = run("record", tmp_path, str(path), "--force")
    assert status == 0, err


def by_ping(path: Path, tmp_path: Path) -> None:
    status, err = run("ping", tmp_path, str(path), "--force")
    assert status == 0, err


def by_export(path: Path, tmp_path: Path) -> None:
    sheets.write(path, "title", {}, [])


def by_defect(path: Path, tmp_path: Path) -> None:
    show._kept("Traceback\nZeroDivisionError", path.parent / "sessions")


#: Command -> the name that it writes, and how.
WRITERS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "record": ("r.vmlat.gz", by_record),
    "record, plain": ("r.vmlat", by_record),
    "ping": ("p.jsonl", by_ping),
    "export": ("e.json", by_export),
    "defect": ("defect.txt", by_defect),
}


def seen(path: Path) -> tuple[int, ...]:
    """What would change if somebody had touched it."""
    info = path.lstat()
    return info.st_ino, info.st_mode, info.st_nlink, info.st_size, info.st_mtime_ns


def attack(kind: str, place: Path, precious: Path) -> None:
    """What somebody has put where a file is going to be."""
    if kind == "symlink":
        place.symlink_to(precious)
    elif kind == "dangling":
        place.symlink_to(precious.with_name("made by way of a link"))
    elif kind == "hardlink":
        os.link(precious, place)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.touch(0o666)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hardlink", "fifo", "owned"])
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_through_what_is_there(writer: str, kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    precious, place = tmp_path / "precious", tmp_path / "theirs"
    precious.write_text(PRECIOUS)
    precious.chmod(0o644)
    place.mkdir()
    attack(kind, place / f".part-{name}", precious)
    if kind != "fifo":
        attack(kind, place / name, precious)
    held = [path.open() for path in place.iterdir() if kind == "owned"]
    with umask(0):
        write(place / name, tmp_path)
    assert precious.read_text() == PRECIOUS and precious.stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "made by way of a link").exists()
    made = (place / name).lstat()
    assert stat.S_ISREG(made.st_mode) and made.st_mode & 0o777 == 0o600 and made.st_nlink == 1
    assert made.st_size > 0
    assert all(file.read() == "" for file in held), "who made a file there before reads the new one"
    assert sorted(path.name for path in place.iterdir()) == [f".part-{name}", name]


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hardlink", "owned"])
@pytest.mark.parametrize("writer", ["record", "ping"])
def test_without_force_nothing_takes_the_place_of_anything(
    writer: str, kind: str, tmp_path: Path
) -> None:
    precious, path = tmp_path / "precious", tmp_path / "r.vmlat.gz"
    precious.write_text(PRECIOUS)
    attack(kind, path, precious)
    before = seen(path)
    status, err = run(writer, tmp_path, str(path))
    assert status == 2 and len(err.splitlines()) == 1 and "exists" in err, err
    assert seen(path) == before and precious.read_text() == PRECIOUS


@pytest.mark.parametrize("writer", ["record", "ping"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("there", "not a regular file"),
        ("n" * 300, "File name too long"),
        ("file/x", "not a directory"),
    ],
    ids=["a directory", "a long name", "below a file"],
)
def test_a_place_that_is_none_is_one_line(
    writer: str, name: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    status, err = run(writer, tmp_path, str(tmp_path / name), "--force")
    assert status == 2 and len(err.splitlines()) == 1 and words in err, err


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "owned"])
def test_the_recording_of_the_screens_is_a_new_file(kind: str, tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "sessions" / "now.vmlat.gz"
    precious.write_text(PRECIOUS)
    path.parent.mkdir()
    attack(kind, path, precious)
    before = seen(path)
    found: list[Any] = []
    feed = Feed(lambda: Frames(Stream().looking(), endless=True), found.append)
    feed.start()
    feed.record(path)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not (found and found[-1][-1].refusal):
        time.sleep(0.01)
    feed.close()
    assert "exists" in str(found[-1][-1].refusal)
    assert seen(path) == before and precious.read_text() == PRECIOUS


def test_directories_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0):
        make_directory(tmp_path / "state" / "vmlat" / "sessions")
        sheets.write(tmp_path / "out" / "deep" / "x.txt", "title", {}, [])
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 5 and {path.stat().st_mode & 0o777 for path in made} == {0o700}
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file" / "x", Path("/proc/none/x")):
        with pytest.raises(UsageError, match="cannot be made"):
            make_directory(wrong)


# ---- a file on its way ---------------------------------------------------------------------------


def test_a_file_is_nowhere_until_it_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with new_file(path) as made:
        made.file.write(b"abc")
        assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())
    with new_file(path) as made:
        made.file.write(b"abc")
        made.take_place(replace=False)
        assert path.read_bytes() == b"abc"
        made.file.write(b"def")
    assert path.read_bytes() == b"abcdef" and list(tmp_path.iterdir()) == [path]


def test_whoever_comes_first_keeps_the_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(UsageError, match="exists"), new_file(path) as made:
        path.write_text("first")
        made.take_place(replace=False)
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [False, True])
def test_a_name_is_taken_once_where_there_are_no_hard_links(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as vfat does

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "x"
    with contextlib.ExitStack() as ends:
        made = ends.enter_context(new_file(path))
        made.file.write(b"second")
        if there:
            path.write_text("first")
            ends.enter_context(pytest.raises(UsageError, match="exists"))
        made.take_place(replace=False)
    assert path.read_text() == ("first" if there else "second")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_that_is_swapped_leads_nowhere_else(replace: bool, tmp_path: Path) -> None:
    theirs, root = tmp_path / "theirs", tmp_path / "root"
    theirs.mkdir()
    root.mkdir()
    with new_file(theirs / "x") as made:
        theirs.rename(tmp_path / "away")
        theirs.symlink_to(root)
        made.file.write(b"abc")
        made.take_place(replace)
    assert not list(root.iterdir())
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UsageError, match="not a regular file"):
        sheets.write(path, "title", {}, [])
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    for value in (0, 0o777):
        with umask(value):
            safe_files.write(tmp_path / f"{value}", b"abc")
        assert (tmp_path / f"{value}").stat().st_mode & 0o777 == 0o600


# ---- a place that is trusted ---------------------------------------------------------------------


def of_another(path: Path) -> None:
    os.chown(path, 65533, 65533)


def writable(path: Path) -> None:
    path.chmod(0o777)


def by_group(path: Path) -> None:
    path.chmod(0o775)


@pytest.mark.parametrize("spoil", [of_another, writable, by_group])
@pytest.mark.parametrize("which", ["a", "a/b", "a/b/c"])
def test_a_directory_that_others_can_reach_on_the_way_is_not_trusted(
    spoil: Callable[[Path], None], which: str, tmp_path: Path
) -> None:
    path = tmp_path / "a" / "b" / "c"
    with umask(0), TrustedDirectory(path):
        pass
    assert {p.stat().st_mode & 0o777 for p in (path, *list(path.parents)[:2])} == {0o700}
    spoil(tmp_path / which)
    with pytest.raises(Untrusted, match=f"{tmp_path / which} is not trusted"):
        TrustedDirectory(path)


def test_a_sticky_directory_may_be_on_the_way_and_not_the_end_of_it(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(0o1777)
    with TrustedDirectory(tmp_path / "t" / "ours"):
        pass
    with pytest.raises(Untrusted):
        TrustedDirectory(tmp_path / "t")
    (tmp_path / "t" / "theirs").mkdir()
    of_another(tmp_path / "t" / "theirs")
    with pytest.raises(Untrusted):
        TrustedDirectory(tmp_path / "t" / "theirs")


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_is_followed_if_it_is_ours(relative: bool, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to("real" if relative else tmp_path / "real")
    with TrustedDirectory(link / "x" / ".." / "y"):
        assert (tmp_path / "real" / "y").is_dir()
    os.lchown(link, 65533, 65533)
    with pytest.raises(Untrusted, match="it belongs to user 65533"):
        TrustedDirectory(link / "z")
    assert not (tmp_path / "real" / "z").exists()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic links"):
        TrustedDirectory(loop)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    trusted = TrustedDirectory(tmp_path / "a")
    (tmp_path / "a" / "d").mkdir()
    with trusted, pytest.raises(ValueError, match="no regular file"):
        trusted.content("d", 10)
    writable(tmp_path / "a")
    for wrong in (tmp_path / "a", tmp_path / "a" / "b", Path("/proc/x/y"), Path("/dev/null/x")):
        with pytest.raises((Untrusted, OSError)):
            TrustedDirectory(wrong)
    for path in (tmp_path, tmp_path / "none", Path("/dev/null")):
        with pytest.raises(UsageError):
            open_regular(path)
        with pytest.raises(UsageError):
            open_regular(path / "x", path)
    safe_files.write(tmp_path / "x.gz", gzip.compress(b"abc"))
    with open_regular(tmp_path / "x.gz") as file:
        assert file.read() == b"abc"
    assert descriptors() == before


@pytest.mark.parametrize("which", ["cache", "state"])
@pytest.mark.parametrize("spoil", [of_another, writable])
def test_the_lab_runs_nothing_from_a_directory_of_others(
    spoil: Callable[[Path], None], which: str, tmp_path: Path
) -> None:
    release, path = releases.release(releases.DEFAULT_KERNEL), tmp_path / "made" / which
    lab_store, instances = store.Store(path, print), Instances(path)

    def use() -> None:
        if which == "cache":
            lab_store.find(release, "0")
        else:
            with instances.temporary():
                pass

    with umask(0), lab_store.lock(release):
        (path / f"{release.suite}-0").mkdir(0o700)
    assert {p.stat().st_mode & 0o777 for p in (path, path.parent)} == {0o700}
    use()
    spoil(path)
    with pytest.raises(VmlatError, match=rf"{which} directory cannot be used: {path} is not"):
        use()


# ---- reading -------------------------------------------------------------------------------------


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    opened = threading.Event()

    def write() -> None:
        (tmp_path / "fifo").write_text("x")
        opened.set()

    threading.Thread(target=write, daemon=True).start()
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises(UsageError, match="is not a regular file"):
            open_regular(path)
    assert not opened.wait(0.2), "not even opened, and so nobody learns of it"
    with pytest.raises(UsageError, match="cannot be opened: No such file"):
        open_regular(tmp_path / "none")
    (tmp_path / "fifo").read_text()  # lets the thread go


def test_a_file_of_proc_is_taken_at_its_word() -> None:
    with open_regular(Path("/proc/kmsg")) as file:
        assert file.read() == b"", "reading it takes the messages away from others"


def test_below_a_directory_no_link_is_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (top / "in" / "x").write_text("abc")
    (tmp_path / "secret").write_text("secret")
    (top / "link").symlink_to(tmp_path / "secret")
    (top / "way").symlink_to(top / "in")
    (tmp_path / "alias").symlink_to(top)
    for named in (top, tmp_path / "alias"):
        with open_regular(named / "in" / "x", named) as file:
            assert file.read() == b"abc"
    for path in (top / "link", top / "way" / "x"):
        with open_regular(path) as file:
            assert file.read(), "who names it chooses it"
        with pytest.raises(UsageError):
            open_regular(path, top)
