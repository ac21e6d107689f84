"""What the kernel's list of hooked functions says."""

from __future__ import annotations

from vmlat_tui.probes.tracefs import with_fentry

#: Of 6.12 and of 6.1, shortened: fentry, a kprobe, both, the function tracer.
LISTED = """\
eventfd_signal_mask (1) R   D   M \ttramp: ftrace_regs_caller+0x0/0x65 (call_direct_funcs+0x0/0x20)
\tdirect-->bpf_trampoline_6442522109+0x0/0xac
irqfd_wakeup [kvm] (1) R         \ttramp: 0xffffffffc0789000 (kprobe_ftrace_handler+0x0/0x1d0)
tun_net_xmit [tun] (2) R   D   M \ttramp: ftrace_regs_caller+0x0/0x65 (call_direct_funcs+0x0/0x20)
\tdirect-->bpf_trampoline_66572107099+0x0/0xac
tun_recvmsg [tun] (1)           \ttramp: 0xffffffffc0787000 (function_trace_call+0x0/0x110)

"""


def test_only_functions_that_call_a_fentry_program_are_told() -> None:
    assert with_fentry(LISTED) == {"eventfd_signal_mask", "tun_net_xmit"}


def test_nothing_is_told_by_an_empty_or_foreign_text() -> None:
    assert with_fentry("") == with_fentry("\n\tdirect-->x") - {""} == set()
