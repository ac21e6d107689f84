"""Run a command inside a guest, through its agent: the measured network is not touched."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, NamedTuple, Optional

from vmlat_tui.errors import UsageError, VmlatError

_ANSWER_SECONDS = 30


class Completed(NamedTuple):
    """A command that ended in a guest."""

    status: int
    stdout: bytes
    stderr: bytes


def execute(
    connection: Any, name: str, command: str, stdin: bytes = b"", seconds: float = 60.0
) -> Completed:
    """Run a shell command in a guest; wait for its end."""
    import libvirt

    try:
        domain = connection.lookupByName(name)
    except libvirt.libvirtError:
        known = ", ".join(domain.name() for domain in connection.listAllDomains())
        raise UsageError("no such domain in the lab", name, f"there are: {known}") from None
    deadline = time.monotonic() + seconds
    arguments: dict[str, Any] = {
        # A session of its own, so that all of it can be ended.
        "path": "/bin/setsid",
        "arg": ["sh", "-c", command],
        "env": ["PATH=/usr/local/bin:/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root"],
        "capture-output": True,
    }
    if stdin:
        arguments["input-data"] = base64.b64encode(stdin).decode()
    pid = _ask(domain, "guest-exec", arguments, deadline)["pid"]
    pause = 0.02
    while True:
        status = _ask(domain, "guest-exec-status", {"pid": pid}, deadline)
        if status["exited"]:
            return Completed(
                # As a shell would say it.
                int(status.get("exitcode", 128 + int(status.get("signal", 0)))),
                base64.b64decode(status.get("out-data", "")),
                base64.b64decode(status.get("err-data", "")),
            )
        if time.monotonic() > deadline:
            end = {"path": "/bin/kill", "arg": ["-KILL", f"-{pid}"]}
            _ask(domain, "guest-exec", end, deadline + 10)
            raise VmlatError(
                f"the command in guest {name} did not end", f"waited {seconds:.0f} s for: {command}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def _ask(domain: Any, verb: str, arguments: dict[str, Any], deadline: float) -> dict[str, Any]:
    import libvirt
    import libvirt_qemu

    request = json.dumps({"execute": verb, "arguments": arguments})
    last: Optional[Exception] = None
    while True:
        try:
            answer = libvirt_qemu.qemuAgentCommand(domain, request, _ANSWER_SECONDS, 0)
            return dict(json.loads(answer)["return"])
        except libvirt.libvirtError as error:
            # A guest that has just booted has no agent yet.
            last = error
            retry = error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE
        if not retry or time.monotonic() > deadline:
            raise VmlatError(f"the agent of guest {domain.name()} does not answer", str(last))
        time.sleep(0.2)
