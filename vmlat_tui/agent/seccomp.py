"""System calls that the agent and what it starts never make, refused by the kernel for good.

Most would fail anyway without the capabilities that were given up.  The others would make more of
those that are kept: ``CAP_SYS_PTRACE``, to look into ``/proc/PID/fd``, would let it write into any
process; ``CAP_DAC_READ_SEARCH`` open any file by its handle; and a user namespace of its own has
every capability.  A filter cannot tell paths, so it does not replace the permissions of files.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

#: Of x86-64; an agent elsewhere has no filter.
REFUSED = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "open_by_handle_at": 304,
    "unshare": 272, "setns": 308, "chroot": 161, "pivot_root": 155, "mount": 165, "umount2": 166,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "mount_setattr": 442, "init_module": 175, "delete_module": 176,
    "finit_module": 313, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167,
    "swapoff": 168, "acct": 163, "quotactl": 179, "quotactl_fd": 443, "settimeofday": 164,
    "clock_settime": 227, "clock_adjtime": 305, "sethostname": 170, "setdomainname": 171,
    "iopl": 172, "ioperm": 173, "add_key": 248, "request_key": 249, "keyctl": 250,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
}  # fmt: skip

_CLONE, _CLONE3, _X32 = 56, 435, 0x40000000
_CLONE_NEWUSER = 0x10000000
_AUDIT_ARCH_X86_64 = 0xC000003E
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
#: Fields of ``struct seccomp_data``.
_NUMBER, _ARCH, _FLAGS = 0, 4, 16
#: Instructions of classic BPF: load a word, jump if equal, not less, or bits are set, return.
_LOAD, _EQUAL, _NOT_LESS, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def program() -> bytes:
    """The filter: ``struct sock_filter`` one after the other."""
    # What a call comes to: allowed, refused, not there.
    ends = [_ALLOW, _ERROR | errno.EPERM, _ERROR | errno.ENOSYS]
    tests = [  # instruction, value, and the end that it leads to if true
        (_NOT_LESS, _X32, 2),
        # Its flags lie in memory, which a filter cannot read; libc goes on to clone.
        (_EQUAL, _CLONE3, 2),
        *((_EQUAL, number, 1) for number in REFUSED.values()),
    ]
    code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64), (_RETURN, 0, 0, ends[1])]
    code.append((_LOAD, 0, 0, _NUMBER))
    rest = 3  # between the last test and the ends
    for at, (instruction, value, end) in enumerate(tests):
        code.append((instruction, len(tests) - 1 - at + rest + end, 0, value))
    # Of clone only a new user namespace is refused.
    code += [(_EQUAL, 0, 2, _CLONE), (_LOAD, 0, 0, _FLAGS), (_SET, 1, 0, _CLONE_NEWUSER)]
    code += [(_RETURN, 0, 0, end) for end in ends]
    return b"".join(struct.pack("<HBBI", *one) for one in code)


def apply() -> None:
    """Put the filter in force for this thread and those that it makes.

    Needs ``no_new_privs``; raises ``OSError`` where the kernel has no filters.
    """
    if platform.machine() != "x86_64":
        return
    code = program()
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
