"""The processes in which BCC compiles, as their parent sees them.

They end with it: whoever asked may be gone before they are done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import time
from typing import Any, BinaryIO

from vmlat_tui import programs
from vmlat_tui.errors import VmlatError

_log = logging.getLogger(__name__)

_LIMIT_S = 170


class _Compiler:
    """One process that compiles; its input and output are in memory, so that it never waits."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._output, self._messages = (_memory(name) for name in ("output", "messages"))
        with _memory("request") as given:
            given.write(json.dumps({**request, "parent": os.getpid()}).encode())
            given.seek(0)
            self._process = subprocess.Popen(
                programs.isolated("vmlat_tui.probes.compiler"),
                stdin=given,
                stdout=self._output,
                stderr=self._messages,
                env=programs.environment(),
            )

    def answer(self, what: str, deadline: float) -> Any:
        """What it has made; raises :class:`VmlatError` with its first complaint."""
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise VmlatError(f"{what} could not be compiled", f"not done in {_LIMIT_S} s") from None
        try:
            if status == 0:
                return json.loads(_content(self._output))
        except ValueError:
            pass
        lines = _content(self._messages).decode(errors="replace").splitlines()
        messages = [line for line in lines if line.strip()]
        for line in messages:
            _log.error("%s: the compiler says: %s", what, line)
        errors = [line for line in messages if "error" in line] or messages[-1:] or ["no message"]
        raise VmlatError(f"{what} could not be compiled", errors[0][:300], "run `vmlat doctor`")

    def close(self) -> None:
        """End it if it still runs."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._messages.close()


def _memory(name: str) -> BinaryIO:
    return open(os.memfd_create(f"vmlat-{name}"), "w+b")


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def compile_all(requests: list[dict[str, Any]], what: str) -> list[Any]:
    """The answers of :func:`.compiler.main`, made at the same time; afterwards none runs on."""
    deadline = time.monotonic() + _LIMIT_S
    with contextlib.ExitStack() as ends:
        compilers = []
        for request in requests:
            compilers.append(_Compiler(request))
            ends.callback(compilers[-1].close)
        return [compiler.answer(what, deadline) for compiler in compilers]
