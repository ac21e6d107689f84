"""``vmlat lab``: build, boot and use the built-in hypervisor."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from vmlat_tui.commands.options.diagnostics import log_options
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import builder, instances, machine, process, scenarios, store
from vmlat_tui.lab.instances import Instances, State
from vmlat_tui.lab.machine import Boot
from vmlat_tui.lab.machines import PROGRAMS, Machines
from vmlat_tui.lab.releases import DEFAULT_KERNEL, RELEASES, Release, release
from vmlat_tui.lab.visit import is_inside, obtain_image, refuse_inside, remote_line, visit
from vmlat_tui.programs import end_with, inherited

_say = store.stderr_say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat lab``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=summary, description=summary)
        log_options(action)
        return action

    action = add("run", "boot a hypervisor, run a command in it, and leave nothing")
    _add_machine(action)
    action.add_argument(
        "--cpus", type=_cpus, default=machine.DEFAULT_CPUS, metavar="N",
        help="emulated processors (2)",
    )  # fmt: skip
    action.add_argument(
        "--count-instructions",
        action="store_true",
        help="let it read how many instructions it executed, to measure what probes add; needs cc",
    )
    _add_command(action)
    action = add("up", "boot a hypervisor and leave it running in the background")
    _add_machine(action)
    action = add("ssh", "run a command (or a shell) in the background hypervisor")
    _add_command(action)
    action = add("guest", "run a shell command in a guest, not using the measured network")
    action.add_argument("domain", metavar="DOMAIN")
    action.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS")
    _add_command(action)
    action = add("scenario", "change the running hypervisor to another scenario")
    action.add_argument("name", metavar="NAME")
    action.add_argument(
        "--again", action="store_true", help="set it up anew even if it is the current one"
    )
    add("status", "say what runs in the background")
    add("down", "end the background hypervisor")
    add("list", "describe the kernels and scenarios")
    action = add("build", "build a hypervisor's image now, without booting it")
    action.add_argument("--kernel", default=DEFAULT_KERNEL, metavar="VERSION")


def run(args: argparse.Namespace) -> int:
    """Carry out ``vmlat lab``; return the exit status."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "up": _up,
        "ssh": _ssh,
        "guest": _guest,
        "scenario": _scenario,
        "status": _status,
        "down": _down,
        "list": _list,
        "build": _build,
    }
    try:
        return actions[args.action](args)
    except process.Interrupted as signal:
        return 128 + signal.number


def _add_machine(action: argparse.ArgumentParser) -> None:
    action.add_argument("--kernel", default=DEFAULT_KERNEL, metavar="VERSION")
    action.add_argument("--scenario", default=scenarios.DEFAULT_SCENARIO, metavar="NAME")
    action.add_argument(
        "--memory", type=_megabytes, default=machine.DEFAULT_MEMORY_MB, metavar="MB"
    )


def _add_command(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="-- COMMAND",
        help="a program and its arguments, or one argument that is a shell command",
    )


def _megabytes(text: str) -> int:
    value = int(text)
    if not 1024 <= value <= 1 << 20:
        raise argparse.ArgumentTypeError("at least 1024")
    return value


def _cpus(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 16:
        raise argparse.ArgumentTypeError("2 to 16")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError("more than 0")
    return value


def _command(args: argparse.Namespace) -> list[str]:
    """Return the user's command; a single argument is one for the shell."""
    words: list[str] = list(args.words)
    if words and words[0] == "--":
        words.pop(0)
    return ["sh", "-c", words[0]] if len(words) == 1 and not _plain(words[0]) else words


def _plain(word: str) -> bool:
    return shlex.quote(word) == word


def _run(args: argparse.Namespace) -> int:
    command = _command(args)
    if not command:
        raise UsageError("no command to run", "", "vmlat lab run -- COMMAND")
    chosen, _ = _choice(args)
    begin = time.monotonic()
    counting = args.count_instructions
    with visit(chosen, args.scenario, args.memory, _say, counting, args.cpus) as lab:
        # The connection is made while the guests boot; lab-exec waits for them.
        with _Remote(lab.line(command, _directory())) as remote:
            lab.wait_ready()
            status = remote.wait(lab.running)
        if status == _SSH_FAILED:
            lab.check_alive(within_s=5)
    _say(
        f"booted in {lab.booted_s:.1f} s (image {'built now' if lab.cold else 'from the cache'}), "
        f"{time.monotonic() - begin:.1f} s in all; exit status {status}"
    )
    return status


_SSH_FAILED = 255


class _Remote:
    """A command in the hypervisor, on this process's own standard streams."""

    def __init__(self, line: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(line), env=inherited(), preexec_fn=functools.partial(end_with, os.getpid())
        )

    def __enter__(self) -> _Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self, alive: Callable[[], bool]) -> int:
        """Return the command's exit status, or ssh's if the machine ends first."""
        while True:
            try:
                return self._process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if not alive():
                    return _SSH_FAILED


def _directory() -> Path:
    """This directory if it exists in the hypervisor, else the checkout."""
    directory = machine.checkout_in_reach(Path.cwd())
    if directory != Path.cwd():
        _say(f"{Path.cwd()} is not in the checkout: the command runs in {directory}")
    return directory


def _choice(args: argparse.Namespace) -> tuple[Release, scenarios.Scenario]:
    return release(args.kernel), scenarios.scenario(args.scenario)


def _build(args: argparse.Namespace) -> int:
    chosen = release(args.kernel)
    refuse_inside()
    with process.interruptible():
        image, cold = obtain_image(chosen, _say)
    print(f"{image.directory}{'' if cold else ' (from the cache)'}")
    return 0


def _up(args: argparse.Namespace) -> int:
    chosen, wanted = _choice(args)
    refuse_inside()
    process.require(*PROGRAMS)
    running = Instances(instances.default_directory())
    with process.interruptible():
        image, _ = obtain_image(chosen, _say)
        with running.starting() as directory:
            machines = Machines(directory, wanted)
            try:
                begin = time.monotonic()
                machines.start(Boot(image, chosen.kernel, wanted, args.memory, lasting=True))
                running.save(
                    State(
                        machines.processes(), machines.port, chosen.kernel, wanted.name,
                        args.memory, time.time(),
                    )
                )  # fmt: skip
                machines.wait("ready", _say)
            except BaseException:
                machines.stop()
                raise
    _say(f"up in {time.monotonic() - begin:.1f} s; use: vmlat lab ssh, vmlat lab down")
    return 0


def _ssh(args: argparse.Namespace) -> int:
    command = _command(args)
    terminal = not command and sys.stdin.isatty()
    return _forward(remote_line(_directory(), command), terminal)


def _forward(line: Sequence[str], terminal: bool = False) -> int:
    """Run a line of shell in the background hypervisor, on this process's standard streams."""
    running = Instances(instances.default_directory())
    state = running.state()
    if state is None:
        raise UsageError("no lab is up", "", "start one: vmlat lab up")
    _refuse_broken(state)
    command = machine.ssh_command(running.background, state.port, line, terminal)
    with process.interruptible(), _Remote(command) as remote:
        status = remote.wait(state.alive)
    if status == _SSH_FAILED:
        _refuse_broken(state)
    return status


def _refuse_broken(state: State) -> None:
    """Raise if one of the machines has ended, and name it."""
    if not state.alive():
        ended = " and ".join(state.ended())
        raise VmlatError("the lab has ended", ended, "start it again: vmlat lab down, vmlat lab up")


def _vmlat(*words: str) -> list[str]:
    """Return the line that runs this program again, inside."""
    return remote_line(machine.CHECKOUT, ["lab-python", "-m", "vmlat_tui", "lab", *words])


def _guest(args: argparse.Namespace) -> int:
    words = _command(args)
    if not words:
        raise UsageError("no command to run", "", "vmlat lab guest DOMAIN -- COMMAND")
    if not is_inside():
        return _forward(_vmlat("guest", "--timeout", str(args.timeout), args.domain, "--", *words))
    from vmlat_tui.lab import inside

    stdin = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    result = inside.guest(args.domain, shlex.join(words), stdin, args.timeout)
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.buffer.flush()
    return result.status


def _scenario(args: argparse.Namespace) -> int:
    wanted = scenarios.scenario(args.name)
    if not is_inside():
        return _forward(_vmlat("scenario", *(["--again"] if args.again else []), wanted.name))
    from vmlat_tui.lab import inside

    begin = time.monotonic()
    inside.switch(wanted.name, args.again)
    _say(f"scenario {wanted.name} after {time.monotonic() - begin:.1f} s")
    return 0


def _status(args: argparse.Namespace) -> int:
    state = Instances(instances.default_directory()).state()
    if state is None:
        print("no lab is up")
        return 1
    minutes = (time.time() - state.since) / 60
    machines = ", ".join(f"{name} is process {pid}" for name, (pid, _) in state.machines.items())
    print(
        f"up for {minutes:.0f} min: kernel {state.kernel}, booted with scenario {state.scenario}, "
        f"{state.memory} MB, ssh port {state.port}; {machines}"
    )
    _refuse_broken(state)
    return 0


def _down(args: argparse.Namespace) -> int:
    with process.interruptible():
        ended = Instances(instances.default_directory()).end()
    _say("the lab is down" if ended else "no lab was up")
    return 0


def _list(args: argparse.Namespace) -> int:
    cache = store.Store(store.default_directory(), _say)
    print("kernels:")
    for each in RELEASES.values():
        built = cache.find(each, store.key(each, builder.INPUTS)) is not None
        print(
            f"  {each.kernel:<8}Debian {each.debian} ({each.suite})"
            f"{', the default' if each.kernel == DEFAULT_KERNEL else ''}"
            f"{', built' if built else ''}"
        )
    print("scenarios:")
    for scenario in scenarios.SCENARIOS.values():
        default = " (the default)" if scenario.name == scenarios.DEFAULT_SCENARIO else ""
        print(f"  {scenario.name:<8}{scenario.summary}{default}")
    return 0
