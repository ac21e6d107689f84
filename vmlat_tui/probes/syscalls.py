"""The few system calls that vmlat needs and BCC 0.18 to 0.31 do not offer alike.

Loading goes past libbcc because only so can BTF-typed tracepoints be used on every version,
verifier messages be kept off file descriptor 2, and kprobes live in descriptors alone: when
the process dies, even by SIGKILL, the kernel closes them and nothing stays behind.

Any thread may call these; every failure is an ``OSError``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Collection
from typing import Optional

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF, _SYS_PERF_EVENT_OPEN = {"x86_64": (321, 298)}.get(platform.machine(), (0, 0))

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, PROG_LOAD = 0, 1, 2, 3, 5
_BTF_GET_FD_BY_ID, _BTF_GET_NEXT_ID = 19, 23
_LINK_CREATE, _ITER_CREATE = 28, 33
_OBJ_GET_INFO_BY_FD = 15
_RAW_TRACEPOINT_OPEN = 17
_MAP_LOOKUP_BATCH = 24

PROG_TYPE_KPROBE = 2
PROG_TYPE_RAW_TRACEPOINT = 17
PROG_TYPE_TRACING = 26
ATTACH_TRACE_RAW_TP, ATTACH_TRACE_FENTRY, ATTACH_TRACE_ITER = 23, 24, 28
MAP_TYPE_RINGBUF = 27

_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408
_FLAG_FD_CLOEXEC = 8
_LOG_SIZE = 1 << 20
_WALK_BYTES = 1 << 16


def _bpf(
    command: int, attributes: bytes, writable: Optional[ctypes.Array[ctypes.c_char]] = None
) -> int:
    if not _SYS_BPF:
        raise OSError(38, f"bpf(2) on {platform.machine()} is not known to vmlat")
    buffer = writable or ctypes.create_string_buffer(attributes, max(len(attributes), 16))
    result = int(_libc.syscall(_SYS_BPF, command, buffer, len(attributes)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class VerifierError(OSError):
    """The kernel refused a program; ``log`` is the verifier's explanation."""

    def __init__(self, number: int, name: str, log: str) -> None:
        super().__init__(number, f"{name}: {os.strerror(number)}")
        self.log = log


def load_program(
    kind: int,
    name: str,
    address: int,
    size: int,
    btf_id: int = 0,
    attach_type: int = ATTACH_TRACE_RAW_TP,
    explain: bool = False,
    btf: int = 0,
) -> int:
    """Load ``size`` bytes of instructions at ``address``; return the program's descriptor.

    ``btf_id`` and ``attach_type`` say what a program of type tracing is attached to; ``btf`` is the
    descriptor of the module's BTF that has the id, 0 for the kernel's own.
    A refused program is loaded once more with the verifier's log, which becomes part of the
    :class:`VerifierError`.
    """
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE if explain else 1)
    attributes = struct.pack(
        "<IIQQIIQII16sIIIIQIIQIII",
        kind,
        size // 8,
        address,
        ctypes.addressof(licence),
        1 if explain else 0,
        _LOG_SIZE if explain else 0,
        ctypes.addressof(log) if explain else 0,
        0,
        0,
        name.encode()[:15],
        0,
        attach_type if kind == PROG_TYPE_TRACING else 0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        btf_id,
        btf,
    )
    try:
        return _bpf(PROG_LOAD, attributes)
    except OSError as error:
        if explain:
            raise VerifierError(
                error.errno or 0, name, log.value.decode(errors="replace")
            ) from None
        return load_program(kind, name, address, size, btf_id, attach_type, True, btf)


def open_raw_tracepoint(name: Optional[str], program: int) -> int:
    """Attach to a raw tracepoint; ``name`` is None for a BTF-typed program (also of kind fentry),
    which knows its own place."""
    text = ctypes.create_string_buffer((name or "").encode())
    return _bpf(
        _RAW_TRACEPOINT_OPEN,
        struct.pack("<QII", ctypes.addressof(text) if name else 0, program, 0),
    )


def open_modules_btf(wanted: Collection[str]) -> dict[str, int]:
    """Module -> descriptor of its BTF, of those that are loaded (kernel 5.11 and later).

    None without ``CAP_SYS_ADMIN``.  The caller closes the descriptors; they do not pass on to what
    it starts.
    """
    found: dict[str, int] = {}
    number = 0
    while True:
        attributes = struct.pack("<IIII", number, 0, 0, 0)
        answer = ctypes.create_string_buffer(attributes, len(attributes))
        try:
            _bpf(_BTF_GET_NEXT_ID, attributes, answer)
        except OSError:
            return found  # the last one was the last, or not even the first is ours to know
        number = int(struct.unpack_from("<I", answer, 4)[0])
        try:
            descriptor = _bpf(_BTF_GET_FD_BY_ID, struct.pack("<IIII", number, 0, 0, 0))
        except OSError:
            continue  # unloaded meanwhile
        try:
            name, _ = _btf_info(descriptor)
        except OSError:
            name = ""
        if name in wanted:
            found[name] = descriptor
        else:
            os.close(descriptor)


def read_btf(descriptor: int) -> bytes:
    """The content of an open BTF."""
    _, size = _btf_info(descriptor)
    data = ctypes.create_string_buffer(size)
    _btf_info(descriptor, ctypes.addressof(data), size)
    return data.raw


def _btf_info(descriptor: int, data: int = 0, size: int = 0) -> tuple[str, int]:
    # struct bpf_btf_info: address and size of the data, id, address and size of the name.
    name = ctypes.create_string_buffer(64)
    info = ctypes.create_string_buffer(40)
    struct.pack_into("<QIIQII", info, 0, data, size, 0, ctypes.addressof(name), len(name), 0)
    _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", descriptor, 32, ctypes.addressof(info)))
    return name.value.decode(errors="replace"), int(struct.unpack_from("<I", info, 8)[0])


def open_iterator(program: int, table: int) -> int:
    """Bind an iterator program to a map; the descriptor makes any number of walks over it."""
    target = ctypes.create_string_buffer(struct.pack("<I", table), 4)
    return _bpf(
        _LINK_CREATE,
        struct.pack("<IIIIQII", program, 0, ATTACH_TRACE_ITER, 0, ctypes.addressof(target), 4, 0),
    )


def kprobe_pmu() -> Optional[int]:
    """Type number of the kprobe event source, None where the kernel has no kprobes."""
    try:
        with open("/sys/bus/event_source/devices/kprobe/type") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def open_kprobe(function: str) -> int:
    """An event at the entry of a kernel function, to be given a program by :func:`enable_event`."""
    pmu = kprobe_pmu()
    if pmu is None:
        raise OSError(95, "this kernel has no kprobes")
    name = ctypes.create_string_buffer(function.encode())
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into(
        "<IIQQQQQIIQQ", attributes, 0, pmu, 128, 0, 1, 0, 0, 0, 1, 0, ctypes.addressof(name), 0
    )
    descriptor = int(
        _libc.syscall(_SYS_PERF_EVENT_OPEN, attributes, -1, 0, -1, ctypes.c_ulong(_FLAG_FD_CLOEXEC))
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return descriptor


def enable_event(event: int, program: int) -> None:
    """Have an event run a program, as long as its descriptor is open."""
    for request, value in ((_IOC_SET_BPF, program), (_IOC_ENABLE, 0)):
        if _libc.ioctl(event, ctypes.c_ulong(request), ctypes.c_ulong(value)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def create_map(kind: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Create a map; returns its descriptor.  A ring buffer has no keys and values."""
    if kind == MAP_TYPE_RINGBUF:
        key_size = value_size = 0
    return _bpf(MAP_CREATE, struct.pack("<IIIII", kind, key_size, value_size, max_entries, flags))


def unlock_memory() -> None:
    """Lift the limit that kernels before 5.11 charge BPF maps to; a refusal does no harm."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


def can_create_ring_buffer() -> bool:
    """Whether BPF ring buffers exist here (kernel 5.8 and later); for who may create maps."""
    unlock_memory()
    try:
        os.close(create_map(MAP_TYPE_RINGBUF, 0, 0, 4096, 0))
    except OSError as error:
        # EPERM is about locked memory, not about ring buffers.
        return error.errno == errno.EPERM
    return True


def program_misses(program: int) -> int:
    """How often the kernel skipped the program because it was already running on that processor.

    0 where the kernel does not count it (before 5.12, of kprobes before 6.7).
    """
    info = ctypes.create_string_buffer(256)
    attributes = struct.pack("<IIQ", program, 256, ctypes.addressof(info))
    try:
        _bpf(_OBJ_GET_INFO_BY_FD, attributes)
    except OSError:
        return 0
    return int(struct.unpack_from("<Q", info, 208)[0])


class Map:
    """One BPF map by its descriptor, keys and values as bytes.

    ``iterator`` is a descriptor of :func:`open_iterator` for this map.  Not for per-CPU maps, nor
    for concurrent use.
    """

    def __init__(
        self, descriptor: int, key_size: int, value_size: int, iterator: Optional[int] = None
    ) -> None:
        self.descriptor = descriptor
        self.key_size = key_size
        self.value_size = value_size
        self._iterator = iterator
        self._key = ctypes.create_string_buffer(key_size)
        self._next = ctypes.create_string_buffer(key_size)
        self._value = ctypes.create_string_buffer(max(value_size, 8))
        self._attributes = struct.pack(
            "<IIQQQ", descriptor, 0, ctypes.addressof(self._key), ctypes.addressof(self._value), 0
        )

    def _call(self, command: int) -> bool:
        # What a command does not use must be absent or zero: deleting takes no value.
        attributes = self._attributes[:16] if command == MAP_DELETE else self._attributes
        try:
            _bpf(command, attributes)
        except FileNotFoundError:
            return False
        return True

    def get(self, key: bytes) -> Optional[memoryview]:
        """The value, valid until the next call on this map; None if absent."""
        ctypes.memmove(self._key, key, self.key_size)
        if not self._call(MAP_LOOKUP):
            return None
        return memoryview(self._value).cast("B")[: self.value_size]

    def put(self, key: bytes, value: bytes) -> None:
        """Set one value."""
        ctypes.memmove(self._key, key, self.key_size)
        ctypes.memmove(self._value, value, self.value_size)
        self._call(MAP_UPDATE)

    def delete(self, key: bytes) -> bool:
        """Remove a key; False if it was not there."""
        ctypes.memmove(self._key, key, self.key_size)
        return self._call(MAP_DELETE)

    def items(self) -> list[tuple[bytes, bytes]]:
        """A copy of all pairs of a hash map, without stopping the writers."""
        if self._iterator is None:
            return self._looked_up()
        walk = _bpf(_ITER_CREATE, struct.pack("<II", self._iterator, 0))
        with open(walk, "rb", buffering=0) as file:
            data = b"".join(iter(lambda: file.read(_WALK_BYTES), b""))
        size, split = self.key_size + self.value_size, self.key_size
        return [
            (data[at : at + split], data[at + split : at + size])
            for at in range(0, len(data), size)
        ]

    def _looked_up(self, batch: int = 512) -> list[tuple[bytes, bytes]]:
        # Without BTF: meanwhile the kernel skips kprobes on this processor.
        pairs: list[tuple[bytes, bytes]] = []
        keys = ctypes.create_string_buffer(self.key_size * batch)
        values = ctypes.create_string_buffer(self.value_size * batch)
        cursor = ctypes.create_string_buffer(max(self.key_size, 8))
        first = True
        while True:
            attributes = struct.pack(
                "<QQQQIIQQ",
                0 if first else ctypes.addressof(cursor),
                ctypes.addressof(cursor),
                ctypes.addressof(keys),
                ctypes.addressof(values),
                batch,
                self.descriptor,
                0,
                0,
            )
            buffer = ctypes.create_string_buffer(attributes, len(attributes))
            done = False
            try:
                _bpf(_MAP_LOOKUP_BATCH, attributes, buffer)
            except FileNotFoundError:
                done = True
            except OSError as error:
                if error.errno != 28:  # ENOSPC: a bucket is larger than the batch
                    raise
                batch *= 2
                keys = ctypes.create_string_buffer(self.key_size * batch)
                values = ctypes.create_string_buffer(self.value_size * batch)
                continue
            count = struct.unpack_from("<I", buffer, 32)[0]
            raw_keys, raw_values = keys.raw, values.raw
            for i in range(count):
                pairs.append(
                    (
                        raw_keys[i * self.key_size : (i + 1) * self.key_size],
                        raw_values[i * self.value_size : (i + 1) * self.value_size],
                    )
                )
            if done:
                return pairs
            first = False
