"""One running hypervisor: a QEMU process, the key to it and its console."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import emulator, executed, process
from vmlat_tui.lab.cpio import CpioWriter
from vmlat_tui.lab.store import Image

PROGRAMS = ("ssh", "ssh-keygen")

DEFAULT_MEMORY_MB = 2560
DEFAULT_CPUS = 2
BOOT_SECONDS = 300.0

#: The root of the checkout: what the hypervisor sees at the same path.
CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: The emulated NICs of the measured network; lab-nics names them by these addresses.  Hub N joins
#: phyN, the uplink's side, with remoteN, which is moved to the remote namespace.  The model is the
#: one with TCP segmentation, working receive merging (packets of up to 64 KB arrive whole) and good
#: speed: e1000e was several times slower under emulation, virtio without a host has no offloads.
_NIC_MODEL = "e1000"
_LINKS = 2

#: noxsave: 6.12 panicked now and then beside a nested guest ("corrupted stack end", faults at a
#: page's end); without XSAVE it was seen less often.  The cause is not known.
_KERNEL_LINE = "console=ttyS0 quiet nokaslr panic=-1 random.trust_cpu=on noxsave"

_MARK = "@lab "
#: What a kernel that crashed says first.
_CRASH = re.compile(r"BUG:|Oops|RIP:|Kernel panic")


def checkout_in_reach(directory: Path) -> Path:
    """Return a directory that exists in the hypervisor: this one, or else the checkout."""
    inside = directory == CHECKOUT or CHECKOUT in directory.parents
    return directory if inside else CHECKOUT


class Machine:
    """A hypervisor whose files live in one directory.

    The directory holds the keys, the first file system of this very boot and the console's log.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self._begin = 0.0
        self._seen = 0
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

    def start(
        self,
        image: Image,
        kernel: str,
        scenario: str,
        memory: int,
        lasting: bool = False,
        counting: bool = False,
        cpus: int = DEFAULT_CPUS,
    ) -> None:
        """Start QEMU; unless ``lasting``, it dies with this process.

        One that is ``counting`` knows how many instructions it has executed.
        """
        process.require(*PROGRAMS)
        if "," in str(CHECKOUT) or "," in str(self.directory):
            raise UsageError("the path of the checkout has a comma", str(CHECKOUT), "move it")
        self._write_keys()
        self._write_initramfs(image, kernel, scenario)
        program = emulator.unpack(image.emulator, self.directory / "emulator")
        more = executed.options(self.directory) if counting else []
        self._begin = time.monotonic()
        self._seen = 0
        for _ in range(5):  # the port may be taken between our look and QEMU's start
            self.port = _free_port()
            self.console.write_bytes(b"")
            with open(self.directory / "qemu.log", "wb") as log:
                self._process = process.start(
                    program + self._options(image, memory, cpus) + more,
                    lasting,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            time.sleep(0.2)
            if self._process.poll() is None or "host forwarding" not in self._qemu_log():
                break
        self._write_known_host()

    def wait(self, until: str, say: Callable[[str], None], seconds: float = BOOT_SECONDS) -> None:
        """Read the console until the hypervisor reports a step; print the steps before it."""
        step = "the kernel"
        while True:
            text = self._console_text()
            *lines, _ = text[self._seen :].split("\n")
            for line in lines:
                self._seen += len(line) + 1
                word, _, rest = line.partition(_MARK)[2].strip().partition(" ")
                if word == until:
                    return
                if word == "failed":
                    raise self._error(rest)
                if word == "step":
                    step = rest
                    say(f"{time.monotonic() - self._begin:5.1f} s  waiting for {rest}")
            if self._process is not None and self._process.poll() is not None:
                raise self._error(f"QEMU ended with status {self._process.returncode}")
            if time.monotonic() - self._begin > seconds:
                raise self._error(f"waited {seconds:.0f} s, at last for: {step}")
            time.sleep(0.05)

    def ssh(self, command: Sequence[str], terminal: bool = False) -> list[str]:
        """Return the command line that runs a program inside (see lab-exec for its environment)."""
        return ssh_command(self.directory, self.port, command, terminal)

    def running(self) -> bool:
        """Tell whether QEMU is alive."""
        return self._process is not None and self._process.poll() is None

    def ended(self, within_s: float) -> bool:
        """Tell whether QEMU ends by itself in this time; a crash first cuts the connection."""
        end = time.monotonic() + within_s
        while self.running() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.running()

    def stop(self) -> None:
        """Switch the machine off at once: nothing in it is kept."""
        if self._process is not None:
            process.stop(self._process)
            self._process = None

    def failure(self) -> VmlatError:
        """Return the error for a machine that ended by itself."""
        status = None if self._process is None else self._process.poll()
        return self._error(f"QEMU ended with status {status}", "the lab has ended")

    def _options(self, image: Image, memory: int, cpus: int) -> list[str]:
        command = [
            "-name", "vmlat-lab", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512",
            # Without 5-level paging the emulated page walks are shorter.
            "-cpu", "max,la57=off", "-smp", str(cpus), "-m", str(memory),
            "-serial", f"file:{self.console}",
            "-kernel", str(image.kernel), "-initrd", str(self.directory / "initramfs.cpio"),
            "-append", _KERNEL_LINE,
            "-drive", f"file={image.root},format=raw,if=none,id=root,readonly=on,file.locking=off",
            "-device", "virtio-blk-pci,drive=root",
            "-fsdev", f"local,id=checkout,path={CHECKOUT},security_model=none,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=checkout,mount_tag=checkout",
            "-netdev", f"user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:22",
            "-device", "virtio-net-pci,netdev=mgmt,mac=52:54:00:4c:00:01,romfile=",
        ]  # fmt: skip
        for link in range(_LINKS):
            for side, name in enumerate(("phy", "remote"), start=1):
                command += [
                    "-netdev", f"hubport,id={name}{link},hubid={link}",
                    "-device", f"{_NIC_MODEL},netdev={name}{link},romfile=,"
                    f"mac=52:54:00:4c:{side:02x}:{link:02x}",
                ]  # fmt: skip
        return command

    def _write_keys(self) -> None:
        for name in ("key", "host_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmlat-lab",
                 "-f", str(self.directory / name)],
                check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def _write_known_host(self) -> None:
        kind, key = (self.directory / "host_key.pub").read_text().split()[:2]
        text = f"[127.0.0.1]:{self.port} {kind} {key}\n"
        (self.directory / "known_hosts").write_text(text)

    def _write_initramfs(self, image: Image, kernel: str, scenario: str) -> None:
        with open(self.directory / "initramfs.cpio", "wb") as file:
            with open(image.initramfs, "rb") as source:
                shutil.copyfileobj(source, file)
            archive = CpioWriter(file)
            archive.add_file("lab/kernel", kernel.encode())
            archive.add_file("lab/scenario", scenario.encode())
            archive.add_file("lab/checkout", os.fsencode(str(CHECKOUT)))
            archive.add_file("lab/host_key", self.directory / "host_key", 0o600)
            archive.add_file("lab/authorized_keys", self.directory / "key.pub")
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
        kept = self.directory.parent / "last-failure.log"
        with contextlib.suppress(OSError):
            kept.write_text(self._qemu_log() + self._console_text())
        remedy = f"the whole console is in {kept}" if kept.exists() else ""
        return VmlatError(title, f"{cause}; last on its console: {last}", remedy)


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
