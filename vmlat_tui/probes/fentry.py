"""Which functions fentry programs can be attached to, and where.

A kprobe's program is not run where it interrupts another one on its processor, and costs five
times as much; fentry has neither fault.  It needs the BTF of the function's module (kernel 5.11 and
later).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.hooks import HOOKS, JOINS, function_symbols
from vmlat_tui.model.points import FUNCTION
from vmlat_tui.probes import opener, syscalls
from vmlat_tui.probes.btf import Btf, BtfError

#: r0 = 0; exit
_NOTHING = bytes.fromhex("b700000000000000 9500000000000000")
_HOOKS = tuple(hook for hook in HOOKS + JOINS if hook.kind == FUNCTION)
_MODULES = frozenset(hook.module for hook in _HOOKS if hook.module)


@dataclass(frozen=True)
class Target:
    """A function: the descriptor of its module's BTF (0: the kernel's) and its type id there."""

    btf: int
    type_id: int


class Fentry:
    """The functions of the running kernel that take fentry programs; owns the descriptors.

    What the kernel accepts is found by trying: a program that does nothing is loaded for each, and
    one is attached for a moment: the first that can be, for a module may just have been removed.
    """

    def __init__(self, kernel: Optional[Btf]) -> None:
        """``kernel`` has :func:`function_symbols` indexed; None: no function takes any."""
        self._descriptors: list[int] = []
        self._targets: dict[str, Target] = {}
        if kernel is None:
            return
        targets = self._find(kernel)
        attachable = False
        for symbol, target in targets.items():
            attachable = attachable or _accepts(target, attach=True)
            if attachable and _accepts(target):
                self._targets[symbol] = target

    def _find(self, kernel: Btf) -> dict[str, Target]:
        modules: dict[str, tuple[int, Btf]] = {}
        for name, descriptor in opener.modules_btf(_MODULES).items():
            self._descriptors.append(descriptor)
            with contextlib.suppress(BtfError, OSError):
                data = syscalls.read_btf(descriptor)
                modules[name] = descriptor, Btf(data, function_symbols(), kernel)
        found = {}
        for hook in _HOOKS:
            for descriptor, btf in ((0, kernel), modules.get(hook.module or "", (0, kernel))):
                with contextlib.suppress(BtfError):
                    found[hook.symbol] = Target(descriptor, btf.function(hook.symbol))
        return found

    def target(self, symbol: str) -> Optional[Target]:
        """Where to attach; None: by a kprobe."""
        return self._targets.get(symbol)

    def exclude(self, symbols: Iterable[str]) -> None:
        """These take none after all."""
        for symbol in symbols:
            self._targets.pop(symbol, None)

    def macros(self) -> dict[str, int]:
        """For the compiler: how each function finds its arguments."""
        return {f"FENTRY_{symbol}": int(symbol in self._targets) for symbol in function_symbols()}

    def close(self) -> None:
        """Release the descriptors; what was loaded does not need them."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


def _accepts(target: Target, attach: bool = False) -> bool:
    code = ctypes.create_string_buffer(_NOTHING, len(_NOTHING))
    try:
        program = syscalls.load_program(
            syscalls.PROG_TYPE_TRACING,
            "vmlat_try",
            ctypes.addressof(code),
            len(_NOTHING),
            target.type_id,
            syscalls.ATTACH_TRACE_FENTRY,
            btf=target.btf,
        )
    except OSError:
        return False
    try:
        if attach:
            os.close(syscalls.open_raw_tracepoint(None, program))
        return True
    except OSError:
        return False
    finally:
        os.close(program)
