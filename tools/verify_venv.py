"""Is the virtual environment whole?  Run by tools/setup.sh with the environment's interpreter.

Prints the first fault and exits with 1, or prints nothing.  It looks at every installed file
(present, and of the recorded size), at the locked versions, and at where bcc, libvirt and ovs
come from; it takes a few tenths of a second, so it runs before every make target.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

#: Modules that must be the distribution's, with the Debian package of each.
FROM_THE_DISTRIBUTION = {
    "bcc": "python3-bpfcc",
    "libvirt": "python3-libvirt",
    "ovs": "python3-openvswitch",
}


def normalized(name: str) -> str:
    """Give the one spelling of a project's name that PEP 503 defines."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(requirements: Path) -> dict[str, str]:
    """Read ``name==version`` lines, with digests behind them; return version by normalized name."""
    versions = {}
    for line in requirements.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        wanted = line.partition("#")[0].split()
        if wanted:
            name, _, version = wanted[0].partition("==")
            versions[normalized(name)] = version
    return versions


def installed(site_packages: Path) -> dict[str, tuple[str, Path]]:
    """Find what is installed in the environment itself: version and directory by name."""
    found = {}
    for info in site_packages.glob("*.dist-info"):
        name, _, version = info.name[: -len(".dist-info")].partition("-")
        found[normalized(name)] = (version, info)
    return found


def damaged_file(info: Path) -> Path | None:
    """Return a file that the installer recorded and that is gone or has another size."""
    site_packages = str(info.parent)
    try:
        with open(info / "RECORD", encoding="utf-8", newline="") as record:
            for name, _, size in csv.reader(record):
                path = os.path.join(site_packages, name)
                if name.endswith(".pyc"):
                    continue
                try:
                    actual = os.stat(path).st_size
                except OSError:
                    return Path(path)
                if size and int(size) != actual:
                    return Path(path)
    except (OSError, ValueError):
        return info / "RECORD"
    return None


def fault(root: Path) -> str | None:
    """Return what is wrong with ``root/.venv``, or None."""
    venv = root / ".venv"
    if Path(sys.prefix).resolve() != venv.resolve():
        return f"the interpreter belongs to {sys.prefix}"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site_packages = venv / "lib" / version / "site-packages"
    have = installed(site_packages)
    wanted = locked(root / "requirements-dev.txt")
    for name, version in wanted.items():
        if name not in have:
            return f"{name} is missing"
        if have[name][0] != version:
            return f"{name} is {have[name][0]} instead of {version}"
    for name in (*wanted, "vmlat", "pip"):
        if name not in have:
            return f"{name} is missing"
        damaged = damaged_file(have[name][1])
        if damaged is not None:
            return f"{os.path.relpath(damaged, root)} is missing or damaged"
    package = importlib.util.find_spec("vmlat_tui")
    if package is None or package.origin is None:
        return "vmlat_tui cannot be imported"
    if Path(package.origin).resolve().parent != (root / "vmlat_tui").resolve():
        return f"vmlat_tui comes from {package.origin}"
    for name, debian in FROM_THE_DISTRIBUTION.items():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return f"it does not see {name} of {debian}"
        if venv.resolve() in Path(spec.origin).resolve().parents:
            return f"{name} is not the distribution's but {spec.origin}"
        try:
            importlib.import_module(name)
        except Exception as error:
            return f"{name} of {debian} cannot be imported: {error}"
    return None


def main() -> int:
    """Check the environment of the checkout named by the argument."""
    found = fault(Path(sys.argv[1]).resolve())
    if found is not None:
        print(found)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
