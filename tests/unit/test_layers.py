"""The layers of the program stay layers when it runs, and every file stays within Python 3.9.

The import contract in pyproject.toml reads the sources; these tests import for real, each in an
interpreter of its own, and look at what came along.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Package -> top-level modules that its import must not load.
NEVER = {
    "vmlat_tui.cli": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.commands": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.errors": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.model": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.protocol": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.transport": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.recording": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.session": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.ping": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.tables": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.export": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.analysis": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.importers": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.lab": {"bcc", "libvirt", "pyroute2", "rich", "textual"},
    "vmlat_tui.tui": {"bcc", "libvirt", "pyroute2"},
    "vmlat_tui.agent": {"rich", "textual"},
    "vmlat_tui.probes": {"rich", "textual"},
    "vmlat_tui.discover": {"rich", "textual"},
}

#: Package -> the only parts of the project that its import may load.
ONLY = {
    "vmlat_tui.errors": {"vmlat_tui.errors"},
    "vmlat_tui.model": {"vmlat_tui.errors", "vmlat_tui.model"},
    "vmlat_tui.protocol": {"vmlat_tui.errors", "vmlat_tui.model", "vmlat_tui.protocol"},
}

#: Packages that are the standard library and nothing else.
PURE = ("vmlat_tui.errors", "vmlat_tui.model", "vmlat_tui.protocol")

IMPORT_ALL = """
import importlib, json, pkgutil, sys

def walk(name):
    module = importlib.import_module(name)
    for entry in pkgutil.iter_modules(getattr(module, "__path__", []), name + "."):
        if not entry.name.endswith(".__main__"):
            walk(entry.name)

before = set(sys.modules)
walk(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def present(name: str) -> bool:
    """Say whether the checkout has this module or package (some come later)."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def loaded_by(name: str) -> set[str]:
    """Import a module with all its submodules in a fresh interpreter; return what it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"importing {name} failed:\n{done.stderr}"
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", sorted(filter(present, NEVER)))
def test_importing_a_layer_does_not_load_what_it_must_not_know(name: str) -> None:
    top_level = {module.partition(".")[0] for module in loaded_by(name)}
    assert not top_level & NEVER[name]


@pytest.mark.parametrize("name", sorted(ONLY))
def test_importing_a_layer_loads_only_the_layers_below(name: str) -> None:
    allowed = ONLY[name]
    ours = {module for module in loaded_by(name) if module.startswith("vmlat_tui.")}
    outside = {
        module
        for module in ours
        if not any(module == part or module.startswith(part + ".") for part in allowed)
    }
    assert not outside


@pytest.mark.parametrize("name", PURE)
def test_a_pure_layer_loads_only_the_standard_library(name: str) -> None:
    directories = [ROOT / "vmlat_tui"]
    foreign = set()
    code = IMPORT_ALL.replace(
        "print(json.dumps(sorted(set(sys.modules) - before)))",
        "print(json.dumps({name: getattr(sys.modules[name], '__file__', None) or ''"
        " for name in set(sys.modules) - before}))",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for module, file in json.loads(done.stdout).items():
        installed = "site-packages" in file or "dist-packages" in file
        ours = any(directory in Path(file).resolve().parents for directory in directories)
        if installed or (module.partition(".")[0] == "vmlat_tui") != ours:
            foreign.add(module)
    assert not foreign


def test_the_command_line_starts_without_loading_a_command() -> None:
    """``vmlat lab`` needs no BCC and ``vmlat trace`` no lab: cli imports what is asked for."""
    ours = {module for module in loaded_by("vmlat_tui.cli") if module.startswith("vmlat_tui.")}
    # How it ends is known from the beginning.
    assert ours <= {"vmlat_tui.cli", "vmlat_tui.ending", "vmlat_tui.errors"}


def source_files() -> list[Path]:
    """Every Python file that may run with the distribution's interpreter."""
    return [
        path
        for directory in ("vmlat_tui", "tests", "tools")
        for path in sorted((ROOT / directory).rglob("*.py"))
    ]


def test_every_file_is_python_3_9() -> None:
    """Debian 11 runs vmlat on Python 3.9, where later grammar is a syntax error."""
    too_new = []
    for path in source_files():
        text = path.read_text(encoding="utf-8")
        try:
            ast.parse(text, str(path), feature_version=(3, 9))
        except SyntaxError as error:
            too_new.append(f"{path.relative_to(ROOT)}:{error.lineno}: {error.msg}")
    assert not too_new


def test_every_file_delays_its_annotations() -> None:
    """``X | None`` in an annotation is an error on 3.9 unless annotations are not evaluated."""
    without = []
    for path in source_files():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        annotated = any(
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
            for outer in ast.walk(tree)
            for annotation in _annotations(outer)
            for node in ast.walk(annotation)
        )
        delayed = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in tree.body
        )
        if annotated and not delayed:
            without.append(str(path.relative_to(ROOT)))
    assert not without


def _annotations(node: ast.AST) -> list[ast.expr]:
    found: list[ast.expr | None] = []
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        found.append(node.returns)
    elif isinstance(node, (ast.arg, ast.AnnAssign)):
        found.append(node.annotation)
    return [annotation for annotation in found if annotation is not None]
