"""Commands of a user who is not root, and may or may not become it by sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

#: nobody: sudo wants a user with a name.
USER = 65534
LETS_IN = "nobody ALL=(root) NOPASSWD:SETENV: ALL\n"
REFUSES = "root ALL=(ALL) ALL\n"


def by_nobody(
    place: Path, rules: str, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run this in ``place``; ``rules`` is sudo's file, in a mount namespace of this command's."""
    assert shutil.which("sudo"), "the set-up installs it"
    file = place / "sudoers"
    file.write_text(rules)
    os.chown(file, 0, 0)
    file.chmod(0o440)
    become = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
    script = f'mount --bind {file} /etc/sudoers && exec "$@"'
    return subprocess.run(
        ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, "sh", *become, *words], cwd=place,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
