"""One running hypervisor: a QEMU process, the key to it and its console."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import executed, monitor, process
from vmlat_tui.lab.cpio import CpioWriter
from vmlat_tui.lab.scenarios import Scenario
from vmlat_tui.lab.store import Image
from vmlat_tui.safe_files import make_own_directory

_log = logging.getLogger(__name__)

DEFAULT_MEMORY_MB = 2560
DEFAULT_CPUS = 2

#: The root of the checkout: what the hypervisor sees at the same path.
CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: The emulated NICs of the measured network; lab-nics names them by these addresses.  Hub N joins
#: phyN, the uplink's side, with remoteN, which is moved to the remote namespace; in a pair a cable
#: joins it with phyN of the other machine.  The model is the one with TCP segmentation, working
#: receive merging (packets of up to 64 KB arrive whole) and good speed: e1000e was several times
#: slower under emulation, virtio without a host has no offloads.
_NIC_MODEL = "e1000"
LINKS = 2

#: noxsave: 6.12 panicked now and then beside a nested guest ("corrupted stack end", faults at a
#: page's end); without XSAVE it was seen less often.  The cause is not known.
#: tsc=reliable: emulated processors share one TSC, which Linux does not believe by itself, and to
#: read any other clock is to leave the emulated machine.
_KERNEL_LINE = "console=ttyS0 quiet nokaslr panic=-1 random.trust_cpu=on noxsave tsc=reliable"

_MARK = "@lab "
#: What a kernel that crashed says first.
_CRASH = re.compile(r"BUG:|Oops|RIP:|Kernel panic")
#: What a kernel says while it boots if QEMU has lost the timer of a processor: it never goes on.
#: Seen on 6.12 with three processors.
_STUCK = "kthread timer wakeup didn't happen"


def checkout_in_reach(directory: Path) -> Path:
    """Return a directory that exists in the hypervisor: this one, or else the checkout."""
    inside = directory == CHECKOUT or CHECKOUT in directory.parents
    return directory if inside else CHECKOUT


@dataclass(frozen=True)
class Boot:
    """What the machines of a lab are booted with.

    They die with this process unless they are ``lasting``.  Those that are ``counting`` know how
    many instructions they have executed.
    """

    image: Image
    kernel: str
    scenario: Scenario
    memory: int
    lasting: bool = False
    counting: bool = False
    cpus: int = DEFAULT_CPUS

    @property
    def compiled(self) -> Path:
        """What outlives the machine: BPF programs that were compiled on this kernel."""
        return self.image.directory.parent / "compiled" / self.kernel


class Machine:
    """A hypervisor whose files live in one directory.

    The directory holds the first file system of this very boot and the console's log; that of the
    lab has the keys.  ``number`` is its index among the hypervisors of the scenario.
    """

    def __init__(self, lab: Path, number: int = 0, name: str = "") -> None:
        self.directory = lab / name
        #: What it is called where there are several.
        self.name = name
        self.port = 0
        self._lab = lab
        self._number = number
        self._begin = 0.0
        self._seen = 0
        self._step = "the kernel"
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def console(self) -> Path:
        """What the hypervisor printed."""
        return self.directory / "console.log"

    @property
    def pid(self) -> int:
        """The process id of QEMU."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    def start(self, boot: Boot, program: Sequence[str], cables: Sequence[int] = ()) -> None:
        """Start QEMU, the ``program``, with a socket for each of the ``cables`` to another one."""
        for shown in (CHECKOUT, self.directory, boot.compiled):
            if "," in str(shown):
                raise UsageError("the lab cannot use a path with a comma", str(shown), "rename it")
        self.directory.mkdir(exist_ok=True)
        make_own_directory(boot.compiled)
        self._write_initramfs(boot)
        more = _wires(cables) + (executed.options(self.directory) if boot.counting else [])
        ends = socket.socketpair() if cables else ()
        inherited = [*cables, *(end.fileno() for end in ends)]
        if ends:
            more += monitor.options(inherited[-2:])
        self._begin = time.monotonic()
        self._seen = 0
        for _ in range(5):  # the port may be taken between our look and QEMU's start
            self.port = _free_port()
            self.console.write_bytes(b"")
            with open(self.directory / "qemu.log", "wb") as log:
                self._process = process.start(
                    [*program, *self._options(boot), *more],
                    boot.lasting,
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            time.sleep(0.2)
            if self._process.poll() is None or "host forwarding" not in self._qemu_log():
                break
        for end in ends:
            end.close()

    def reached(self, step: str, say: Callable[[str], None], seconds: float) -> bool:
        """Read the console on: has the hypervisor reported this step?  Say which are before it.

        Raises :class:`VmlatError` if it never will, or has not within ``seconds`` of its start.
        """
        text = self._console_text()
        *lines, _ = text[self._seen :].split("\n")
        for line in lines:
            self._seen += len(line) + 1
            word, _, rest = line.partition(_MARK)[2].strip().partition(" ")
            _log.debug("%s: console: %s", self.name or "lab", line)
            if word == step:
                return True
            if word == "failed":
                raise self._error(rest)
            if _STUCK in line:
                raise self._error("the emulated timer of a processor has stopped")
            if word == "step":
                self._step = rest
                where = f"{self.name} " if self.name else ""
                say(f"{time.monotonic() - self._begin:5.1f} s  {where}waiting for {rest}")
        if self._process is not None and self._process.poll() is not None:
            raise self._error(f"QEMU ended with status {self._process.returncode}")
        if time.monotonic() - self._begin > seconds:
            raise self._error(f"waited {seconds:.0f} s, at last for: {self._step}")
        return False

    def running(self) -> bool:
        """Tell whether QEMU is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Switch it off at once: nothing in it is kept."""
        if self._process is not None:
            process.stop(self._process)
            self._process = None

    def failure(self) -> VmlatError:
        """Return the error for a machine that ended by itself."""
        status = None if self._process is None else self._process.poll()
        return self._error(f"QEMU ended with status {status}", "the lab has ended")

    def _options(self, boot: Boot) -> list[str]:
        image = boot.image
        return [
            "-name", "vmlat-lab", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512",
            # Without 5-level paging the emulated page walks are shorter.
            "-cpu", "max,la57=off", "-smp", str(boot.cpus), "-m", str(boot.memory),
            "-serial", f"file:{self.console}",
            "-kernel", str(image.kernel), "-initrd", str(self.directory / "initramfs.cpio"),
            "-append", _KERNEL_LINE,
            "-drive", f"file={image.root},format=raw,if=none,id=root,readonly=on,file.locking=off",
            "-device", "virtio-blk-pci,drive=root",
            "-fsdev", f"local,id=checkout,path={CHECKOUT},security_model=none,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=checkout,mount_tag=checkout",
            # Who owns a file there is noted beside it: root, whoever started this.
            "-fsdev", f"local,id=compiled,path={boot.compiled},security_model=mapped-file",
            "-device", "virtio-9p-pci,fsdev=compiled,mount_tag=compiled",
            "-netdev", f"user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:22",
            "-device", "virtio-net-pci,netdev=mgmt,mac=52:54:00:4c:00:01,romfile=",
        ]  # fmt: skip

    def _write_initramfs(self, boot: Boot) -> None:
        with open(self.directory / "initramfs.cpio", "wb") as file:
            with open(boot.image.initramfs, "rb") as source:
                shutil.copyfileobj(source, file)
            archive = CpioWriter(file)
            archive.add_file("lab/kernel", boot.kernel.encode())
            archive.add_file("lab/scenario", boot.scenario.name.encode())
            archive.add_file("lab/checkout", os.fsencode(str(CHECKOUT)))
            archive.add_file("lab/host_key", self._lab / "host_key", 0o600)
            archive.add_file("lab/authorized_keys", self._lab / "key.pub")
            if boot.scenario.paired:
                archive.add_file("lab/hypervisor", str(self._number).encode())
                # To log in to one another, and to boot guests as it was booted itself.
                archive.add_file("lab/key", self._lab / "key", 0o600)
                archive.add_file("lab/initramfs.cpio", boot.image.initramfs)
            archive.close()

    def _console_text(self) -> str:
        with contextlib.suppress(OSError):
            return self.console.read_text(errors="replace").replace("\r", "")
        return ""

    def _qemu_log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / "qemu.log").read_text(errors="replace")
        return ""

    def _error(self, cause: str, title: str = "the lab did not come up") -> VmlatError:
        said = [line for line in self._console_text().splitlines() if line]
        # Of a crashed kernel the cause is said first, and its registers last.
        shown = [line for line in said if _CRASH.search(line)][:4] or said[-5:]
        # Of a crashed QEMU it is the last it said.
        shown += [line for line in self._qemu_log().splitlines() if line][-1:]
        last = " | ".join(line.strip()[:160] for line in shown) or "nothing"
        cause = f"{self.name}: {cause}" if self.name else cause
        kept = self._lab.parent / "last-failure.log"
        with contextlib.suppress(OSError):
            kept.write_text(self._qemu_log() + self._console_text())
        remedy = f"the whole console is in {kept}" if kept.exists() else ""
        return VmlatError(title, f"{cause}; last on its console: {last}", remedy)


def _wires(cables: Sequence[int]) -> list[str]:
    """The options for the NICs of the measured network, and of what is at their other ends."""
    options = []
    for link in range(LINKS):
        ends = {"phy": f"hubport,hubid={link}", "remote": f"hubport,hubid={link}"}
        if cables:
            ends = {"phy": f"dgram,local.type=fd,local.str={cables[link]}"}
        for side, (name, end) in enumerate(ends.items(), start=1):
            options += [
                "-netdev", f"{end},id={name}{link}",
                "-device", f"{_NIC_MODEL},netdev={name}{link},romfile=,"
                f"mac=52:54:00:4c:{side:02x}:{link:02x}",
            ]  # fmt: skip
    return options


def ssh_command(
    directory: Path, port: int, command: Sequence[str], terminal: bool = False
) -> list[str]:
    """Return an ssh command line to the lab whose files are in this directory."""
    options = {
        "UserKnownHostsFile": str(directory / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "60",
        "ServerAliveInterval": "20",
        "ServerAliveCountMax": "6",
        # The cheapest to emulate.
        "KexAlgorithms": "curve25519-sha256",
    }
    line = ["ssh", "-F", "none", "-p", str(port), "-i", str(directory / "key")]
    for name, value in options.items():
        line += ["-o", f"{name}={value}"]
    line.append("-t" if terminal else "-T")
    return [*line, "root@127.0.0.1", *command]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
