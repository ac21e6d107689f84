"""One loaded BPF object: its maps, and its functions ready to attach."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from vmlat_tui.errors import VmlatError
from vmlat_tui.probes import layout, syscalls
from vmlat_tui.probes.compiler import MapSpec, compiled, map_loads
from vmlat_tui.probes.mapped import MappedArray
from vmlat_tui.probes.syscalls import Map, create_map, load_program, unlock_memory


def possible_processors() -> int:
    """How many processor numbers can occur."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace(",", "-").split("-")[-1]) + 1


def available_bytes() -> int:
    """How much memory can be had without swapping, as the kernel estimates."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62  # no estimate


class Program:
    """The maps of a compiled source, created, and its functions to load.  Owns the maps."""

    def __init__(self, source: str, macros: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        """``sizes`` replaces the number of entries of the maps it names.

        Raises :class:`VmlatError` if it cannot be compiled or the maps cannot be created.
        """
        unlock_memory()
        self._source = source
        self._object = compiled(source, macros)
        self._descriptors: list[int] = []
        self._iterators: dict[str, int] = {}
        self._mapped: list[MappedArray] = []
        self._entries: dict[str, int] = {}
        try:
            for spec in self._object.maps:
                entries = sizes.get(spec.name, spec.max_entries)
                self._entries[spec.name] = entries
                self._descriptors.append(
                    create_map(spec.kind, spec.key_size, spec.value_size, entries, spec.flags)
                )
        except OSError as error:
            self.close()
            raise VmlatError(f"map {spec.name} could not be created", str(error.strerror)) from None

    def compile_again(self, macros: Mapping[str, int]) -> None:
        """Have other functions on the same maps; what is loaded stays as it is."""
        other = compiled(self._source, macros)
        if other.maps != self._object.maps:
            raise VmlatError("the BPF source declares other maps with other macros")
        self._object = other

    def map(self, name: str) -> Map:
        """A map by its name in the C source; checks that both sides know the same layout."""
        spec, descriptor = self._find(name)
        return Map(descriptor, spec.key_size, spec.value_size, self._iterators.get(name))

    def mapped(self, name: str) -> MappedArray:
        """An array that the source declares as ``MAPPED``, in this process's memory."""
        spec, descriptor = self._find(name)
        array = MappedArray(descriptor, spec.value_size, self._entries[name])
        self._mapped.append(array)
        return array

    def open_iterators(self, btf_id: int) -> None:
        """Read hash maps by their iterator programs from now on, where the source has one.

        ``btf_id`` is that of the function :data:`vmlat_tui.probes.offsets.ITERATOR`.  A kernel that
        forbids iterators though it has BTF (seen on a hardened 6.18) is read by system calls.
        """
        for spec, descriptor in zip(self._object.maps, self._descriptors):
            function = f"it_{spec.name}"
            if function not in self._object.functions:
                continue
            try:
                loaded = self.load(
                    function, syscalls.PROG_TYPE_TRACING, btf_id, syscalls.ATTACH_TRACE_ITER
                )
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise
                return
            try:
                self._iterators[spec.name] = syscalls.open_iterator(loaded, descriptor)
            finally:
                os.close(loaded)

    def _find(self, name: str) -> tuple[MapSpec, int]:
        named = {s.name: (s, fd) for s, fd in zip(self._object.maps, self._descriptors)}
        if name not in named:
            raise VmlatError(f"the BPF source has no map {name}")
        spec, descriptor = named[name]
        expected = layout.SIZES.get(name, spec.value_size)
        if spec.value_size != expected:
            raise VmlatError(
                f"map {name}: the program has {spec.value_size} bytes, the decoder {expected}"
            )
        return spec, descriptor

    def load(
        self,
        function: str,
        kind: int,
        btf_id: int = 0,
        attach_type: int = syscalls.ATTACH_TRACE_RAW_TP,
        btf: int = 0,
    ) -> int:
        """Load one function; returns its descriptor, which the caller closes.

        See :func:`vmlat_tui.probes.syscalls.load_program`.
        """
        code = self._object.functions.get(function)
        if code is None:
            raise VmlatError(f"the BPF source has no function {function}")
        linked = bytearray(code)
        for at in map_loads(code):
            index = int.from_bytes(code[at + 4 : at + 8], "little")
            linked[at + 4 : at + 8] = self._descriptors[index].to_bytes(4, "little")
        buffer = ctypes.create_string_buffer(bytes(linked), len(linked))
        return load_program(
            kind, function, ctypes.addressof(buffer), len(linked), btf_id, attach_type, btf=btf
        )

    def close(self) -> None:
        """Release the maps."""
        for array in self._mapped:
            array.close()
        for descriptor in [*self._iterators.values(), *self._descriptors]:
            os.close(descriptor)
        self._mapped.clear()
        self._iterators.clear()
        self._descriptors.clear()
