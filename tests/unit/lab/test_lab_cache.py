"""The lab's cache and its inputs: keys, damage, half-built images, full disks, mirrors."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.errors import VmlatError
from vmlat_tui.lab import sources, store
from vmlat_tui.lab.cpio import CpioWriter
from vmlat_tui.lab.releases import RELEASES

RELEASE = RELEASES["6.1"]


@pytest.fixture
def said() -> Any:
    return []


@pytest.fixture
def cache(tmp_path: Any, said: Any) -> Any:
    return store.Store(tmp_path / "cache", said.append)


def make(cache: Any, digest: str = "k1", content: bytes = b"x" * 5000) -> Any:
    with cache.lock(RELEASE), cache.build(RELEASE, digest) as output:
        for name in store.FILES:
            (output / name).write_bytes(content)
    return cache.find(RELEASE, digest)


def names(cache: Any) -> Any:
    return sorted(path.name for path in cache.directory.iterdir() if path.is_dir())


def test_absent_then_built_then_found(cache: Any, said: Any) -> None:
    assert cache.find(RELEASE, "k1") is None
    image = make(cache)
    assert image is not None and image.kernel.exists()
    assert names(cache) == ["bookworm-k1"]
    assert said == []


def test_a_new_key_replaces_the_image_of_the_same_release_only(cache: Any) -> None:
    make(cache, "k1")
    (cache.directory / "trixie-other").mkdir()
    make(cache, "k2")
    assert names(cache) == ["bookworm-k2", "trixie-other"]
    assert cache.find(RELEASE, "k1") is None


@pytest.mark.parametrize("name", store.FILES)
@pytest.mark.parametrize("damage", ["truncated", "changed", "removed"])
def test_damage_is_found_and_healed(cache: Any, said: Any, name: Any, damage: Any) -> None:
    image = make(cache)
    path = image.directory / name
    if damage == "removed":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, 10)
    else:
        path.write_bytes(b"y" * 5000)
    assert cache.find(RELEASE, "k1") is None
    assert len(said) == 1 and "damaged" in said[0]
    assert make(cache) is not None


def test_a_copied_image_is_checked_in_full_and_then_trusted(cache: Any) -> None:
    image = make(cache)
    path = image.directory / "vmlinux"
    os.utime(path, (1, 1))
    assert cache.find(RELEASE, "k1") is not None
    assert cache.find(RELEASE, "k1") is not None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"vmlinux": {}}', '{"vmlinux": 1}'])
def test_a_broken_manifest_is_damage(cache: Any, text: Any) -> None:
    image = make(cache)
    (image.directory / "manifest.json").write_text(text)
    assert cache.find(RELEASE, "k1") is None


def test_a_failed_build_leaves_nothing(cache: Any) -> None:
    with pytest.raises(RuntimeError), cache.lock(RELEASE), cache.build(RELEASE, "k1") as output:
        (output / "vmlinux").write_bytes(b"half")
        raise RuntimeError
    assert names(cache) == []


def test_an_incomplete_build_is_not_taken_over(cache: Any) -> None:
    with pytest.raises(OSError), cache.lock(RELEASE), cache.build(RELEASE, "k1") as output:
        (output / "vmlinux").write_bytes(b"half")
    assert names(cache) == []


def test_what_a_killed_build_left_is_removed(cache: Any) -> None:
    make(cache)
    left = cache.directory / "build-bookworm-abc"
    (left / "root").mkdir(parents=True)
    other = cache.directory / "build-trixie-abc"
    other.mkdir()
    make(cache, "k2")
    assert not left.exists() and other.exists()


def full_disk(monkeypatch: Any, free: Any) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)


def test_a_nearly_full_disk_is_noticed_before_the_build(cache: Any, monkeypatch: Any) -> None:
    full_disk(monkeypatch, 1 << 30)
    with pytest.raises(VmlatError) as caught:
        make(cache)
    assert "1024 MB free, 3072 MB are needed" in str(caught.value)
    assert "VMLAT_LAB_CACHE" in str(caught.value)
    assert names(cache) == []


def test_a_disk_that_fills_up_is_noticed_during_the_build(cache: Any, monkeypatch: Any) -> None:
    with pytest.raises(VmlatError), cache.lock(RELEASE), cache.build(RELEASE, "k1"):
        full_disk(monkeypatch, 1 << 20)
        cache.check_space()
    assert names(cache) == []


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Any, said: Any) -> None:
    (tmp_path / "file").write_text("")
    cache = store.Store(tmp_path / "file" / "cache", said.append)
    with pytest.raises(VmlatError) as caught, cache.lock(RELEASE):
        pass
    assert "VMLAT_LAB_CACHE" in str(caught.value)


def test_the_lock_has_a_time_limit_and_names_its_holder(cache: Any, said: Any) -> None:
    waiting = cache.lock(RELEASE, seconds=0.3)
    with cache.lock(RELEASE), pytest.raises(VmlatError) as caught:
        waiting.__enter__()
    assert f"process {os.getpid()} has held" in str(caught.value)
    assert said == [f"waiting for process {os.getpid()}, which is building it"]


def test_two_releases_are_built_independently(cache: Any) -> None:
    with cache.lock(RELEASE), cache.lock(RELEASES["6.12"], seconds=0):
        pass


def test_the_second_of_two_builders_waits(cache: Any) -> None:
    order: list[str] = []

    def second() -> None:
        with cache.lock(RELEASE):
            order.append("second")

    with cache.lock(RELEASE):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_key_depends_on_packages_contents_names_and_modes(tmp_path: Any) -> None:
    script = tmp_path / "files" / "init"
    script.parent.mkdir()
    script.write_text("one")
    inputs = [script.parent]
    keys = {store.key(RELEASE, inputs)}
    assert keys == {store.key(RELEASE, inputs)}
    keys.add(store.key(RELEASES["6.12"], inputs))
    script.write_text("two")
    keys.add(store.key(RELEASE, inputs))
    script.chmod(0o755)
    keys.add(store.key(RELEASE, inputs))
    script.rename(script.with_name("other"))
    keys.add(store.key(RELEASE, inputs))
    assert len(keys) == 5


def test_the_cache_directory_follows_the_environment(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    monkeypatch.delenv("VMLAT_LAB_CACHE", raising=False)
    assert store.default_directory() == tmp_path / "x" / "vmlat" / "lab"
    monkeypatch.setenv("VMLAT_LAB_CACHE", str(tmp_path / "y"))
    assert store.default_directory() == tmp_path / "y"


DEB822 = """\
Types: deb deb-src
# a comment: with a colon
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name.replace("__", "/").replace("_", ".")).write_text(text)
    return tmp_path


def test_mirror_from_deb822(tmp_path: Any) -> None:
    found = sources.find_mirror(
        apt(tmp_path, sources_list_d__debian_sources=DEB822), tmp_path / "no"
    )
    assert found.source("trixie") == "deb http://mirror.example/debian trixie main"


@pytest.mark.parametrize(
    "line",
    [
        "deb http://mirror.example/debian bookworm main",
        "deb [arch=amd64 signed-by=/a/b.gpg] http://mirror.example/debian stable main contrib",
    ],
)
def test_mirror_from_one_line(tmp_path: Any, line: Any) -> None:
    text = f"# deb http://old.example/debian bookworm main\n{line}\n"
    found = sources.find_mirror(apt(tmp_path, sources_list=text), tmp_path / "no")
    assert found.uri == "http://mirror.example/debian"


def test_mirror_is_debians_own_and_not_a_vendors(tmp_path: Any) -> None:
    vendor = "deb http://vendor.example/repo bookworm main\n"
    debian = "deb http://mirror.example/debian/ bookworm main\n"
    found = sources.find_mirror(apt(tmp_path, sources_list=vendor + debian), tmp_path / "no")
    assert found.uri == "http://mirror.example/debian/"


@pytest.mark.parametrize(
    "text", ["", "Types: deb\nURIs: http://x/ubuntu\nSuites: noble\nComponents: main\n", DEB822[:9]]
)
def test_no_mirror_is_one_line(tmp_path: Any, text: Any) -> None:
    with pytest.raises(VmlatError) as caught:
        sources.find_mirror(apt(tmp_path, sources_list_d__x_sources=text))
    assert "no Debian mirror found" in str(caught.value)


def test_disabled_sources_do_not_count(tmp_path: Any) -> None:
    text = DEB822.split("\n\n")[0] + "\nEnabled: no\n"
    with pytest.raises(VmlatError):
        sources.find_mirror(apt(tmp_path, sources_list_d__x_sources=text))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio to compare with")
def test_cpio_can_be_unpacked(tmp_path: Any) -> None:
    out = io.BytesIO()
    archive = CpioWriter(out)
    archive.add_file("a/b/c", b"12345", 0o755)
    archive.add_link("a/link", "b/c")
    archive.add_directory("a/b")
    archive.close()
    subprocess.run(["cpio", "-id", "--quiet"], input=out.getvalue(), cwd=tmp_path, check=True)
    assert (tmp_path / "a/link").read_bytes() == b"12345"
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o755


def test_cpio_layout() -> None:
    out = io.BytesIO()
    archive = CpioWriter(out)
    archive.add_file("d/f", b"abc")
    archive.close()
    data = out.getvalue()
    assert len(data) % 4 == 0
    assert data.count(b"070701") == 3  # d, d/f, trailer
    assert b"abc\0" in data
