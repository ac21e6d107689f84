"""``vmlat lab``: arguments, refusals, clean-up; nothing here boots anything."""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from vmlat_tui import cli
from vmlat_tui.commands import lab
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import executed, instances, machine, machines, process, scenarios
from vmlat_tui.lab.hypervisor import domains
from vmlat_tui.lab.instances import Instances, State


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: Any, tmp_path: Any) -> Any:
    monkeypatch.setenv("VMLAT_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VMLAT_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("VMLAT_LAB", raising=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], "no command to run"),
        (["run", "--"], "no command to run"),
        (["run", "--kernel", "2.4", "--", "true"], "no such kernel: '2.4'; choose one of 5.10"),
        (["run", "--scenario", "x", "--", "true"], "no such scenario: 'x'; choose one of ovs"),
        (["up", "--kernel", "x"], "no such kernel"),
        (["guest", "vm-a"], "no command to run"),
        (["guest", "vm-a", "--", "true"], "no lab is up; start one: vmlat lab up"),
        (["ssh"], "no lab is up"),
        (["scenario", "nope"], "no such scenario"),
        (["scenario", "ovs"], "no lab is up"),
    ],
)
def test_refusals_are_one_line_with_a_remedy(capfd: Any, words: Any, expected: Any) -> None:
    assert cli.main(["lab", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vmlat: ") and expected in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [[], ["nope"], ["run", "--memory", "12", "true"], ["guest", "--timeout", "0", "a", "b"]],
)
def test_wrong_arguments_end_with_status_2(capfd: Any, words: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["lab", *words])
    assert caught.value.code == 2


@pytest.mark.parametrize("words", [["run", "true"], ["up"], ["build"]])
def test_no_lab_in_the_lab(capfd: Any, monkeypatch: Any, words: Any) -> None:
    monkeypatch.setenv("VMLAT_LAB", "1")
    assert cli.main(["lab", *words]) == 2
    assert "this is the lab's hypervisor" in capfd.readouterr().err


def test_a_missing_program_names_its_package(monkeypatch: Any) -> None:
    monkeypatch.setattr("shutil.which", lambda program, path: None)
    with pytest.raises(UsageError) as caught:
        process.require("mkfs.erofs", "ssh")
    assert "mkfs.erofs, ssh" in str(caught.value)
    assert "apt-get install erofs-utils openssh-client" in str(caught.value)


def test_list_names_everything(capsys: Any) -> None:
    assert cli.main(["lab", "list"]) == 0
    out = capsys.readouterr().out
    for word in ["5.10", "6.1", "6.12", "trixie", *scenarios.SCENARIOS]:
        assert word in out


def test_status_and_down_without_a_lab(capsys: Any) -> None:
    assert cli.main(["lab", "status"]) == 1
    assert cli.main(["lab", "down"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "no lab is up\n" and captured.err == "lab: no lab was up\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--", "echo", "a b"], ["echo", "a b"]),
        (["true"], ["true"]),
        (["--", "echo a | cat"], ["sh", "-c", "echo a | cat"]),
        (["--", "tool", "--", "x"], ["tool", "--", "x"]),
    ],
)
def test_one_argument_is_for_the_shell_and_several_are_a_program(words: Any, expected: Any) -> None:
    arguments = argparse.Namespace(words=words)
    assert lab._command(arguments) == expected


def sleeper() -> Any:
    return subprocess.Popen(["sleep", "60"])


def state_of(child: Any, started: Any = None) -> Any:
    if started is None:
        started = process.start_time(child.pid)
    return State({"lab": (child.pid, started)}, 1, "6.1", "ovs", 2048, time.time())


def test_down_ends_the_process_and_removes_its_files(tmp_path: Any) -> None:
    running = Instances(tmp_path / "s")
    child = sleeper()
    with running.starting() as directory:
        (directory / "key").write_text("secret")
        running.save(state_of(child))
    assert running.state() is not None
    with pytest.raises(VmlatError, match="already up"), running.starting():
        pass
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    assert running.end()
    reaper.join()
    assert child.returncode == -signal.SIGKILL
    assert not running.background.exists() and running.state() is None


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Any) -> None:
    running = Instances(tmp_path / "s")
    child = sleeper()
    try:
        with running.starting():
            running.save(state_of(child, started=1))
        assert running.state() is None
        assert not running.end()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_an_interrupted_start_leaves_no_directory(tmp_path: Any) -> None:
    running = Instances(tmp_path / "s")
    with pytest.raises(process.Interrupted), running.starting():
        raise process.Interrupted(15)
    assert not running.background.exists()


def test_only_abandoned_directories_are_removed(tmp_path: Any) -> None:
    running = Instances(tmp_path / "s")
    abandoned = tmp_path / "s" / "run-dead"
    abandoned.mkdir(parents=True)
    with running.temporary() as first, running.temporary() as second:
        assert first.exists() and second.exists() and not abandoned.exists()
    assert list((tmp_path / "s").glob("run-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_clean_up(number: Any) -> None:
    with pytest.raises(process.Interrupted) as caught, process.interruptible():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert caught.value.number == number
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_child_dies_with_its_parent() -> None:
    program = (
        "from vmlat_tui.lab import process; import time\n"
        "print(process.start(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert process.start_time(pid) is not None
        parent.kill()
    deadline = time.monotonic() + 5
    while process.start_time(pid) is not None and time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as file:
            if ") Z " in file.read():
                break
        time.sleep(0.05)
    else:
        assert process.start_time(pid) is None


def console(tmp_path: Any, text: Any) -> Any:
    hypervisor = machine.Machine(tmp_path)
    hypervisor._begin = time.monotonic()
    hypervisor.console.write_text(text)
    return hypervisor


def test_the_boot_reports_what_it_waits_for(tmp_path: Any) -> None:
    said: list[str] = []
    hypervisor = console(
        tmp_path, "noise\r\n@lab step the moon\r\n@lab ssh\n@lab step x\n@lab ready\n"
    )
    machines.wait([hypervisor], "ssh", said.append, 5)
    assert len(said) == 1 and said[0].endswith("waiting for the moon")
    machines.wait([hypervisor], "ready", said.append, 5)
    assert len(said) == 2


def test_a_boot_that_takes_too_long_says_what_for(tmp_path: Any) -> None:
    hypervisor = console(tmp_path, "kernel says\n@lab step the moon\n")
    with pytest.raises(VmlatError) as caught:
        machines.wait([hypervisor], "ready", lambda line: None, 0.1)
    text = str(caught.value)
    assert "at last for: the moon" in text and "kernel says" in text


def test_a_boot_that_fails_says_why(tmp_path: Any) -> None:
    hypervisor = console(tmp_path, "@lab failed no disk\n")
    with pytest.raises(VmlatError, match="no disk"):
        machines.wait([hypervisor], "ready", lambda line: None, 5)


def test_a_boot_whose_timer_has_stopped_is_given_up_at_once(tmp_path: Any) -> None:
    line = (
        "[   22.5] rcu: rcu_preempt kthread timer wakeup didn't happen for 5253 jiffies! g-1155\n"
    )
    hypervisor = console(tmp_path, f"@lab step the moon\n{line}")
    with pytest.raises(VmlatError, match="timer of a processor has stopped"):
        machines.wait([hypervisor], "ready", lambda line: None, 60)


def test_a_counter_of_instructions_is_built_for_the_emulator(tmp_path: Any) -> None:
    if not shutil.which("cc"):  # nothing else needs a compiler
        with pytest.raises(UsageError, match="gcc"):
            executed.options(tmp_path)
        return
    words = executed.options(tmp_path)
    plugin, shown = tmp_path / "executed.so", tmp_path / "executed"
    assert words[:2] == ["-plugin", f"{plugin},shown={shown}"]
    assert shown.stat().st_size == 1 << 20
    assert ctypes.c_int.in_dll(ctypes.CDLL(str(plugin), os.RTLD_LAZY), "qemu_plugin_version").value


def test_a_machine_that_does_not_count_says_how_to_get_one(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(executed, "_DEVICES", tmp_path)
    with pytest.raises(UsageError, match="--count-instructions"):
        executed.Executed()


def test_commands_outside_the_checkout_run_in_it(tmp_path: Any) -> None:
    assert machine.checkout_in_reach(tmp_path) == machine.CHECKOUT
    inside = machine.CHECKOUT / "tests"
    assert machine.checkout_in_reach(inside) == inside


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS.values(), ids=scenarios.SCENARIOS)
def test_domains_are_described(scenario: Any) -> None:
    for domain in scenario.domains:
        tree: Any = ElementTree.fromstring(domains.describe(scenario, domain))
        interface = tree.find("devices/interface")
        assert interface.find("mac").get("address") == domain.mac
        assert interface.find("driver").get("name") == (
            "qemu" if scenario.name == "qemu" else "vhost"
        )
        assert (interface.find("virtualport") is not None) == scenario.openvswitch
        tag = interface.find("vlan/tag")
        assert (tag is not None) == (scenario.name == "vlan")
        assert f"lab.ip4={domain.ip4}/24" in tree.find("os/cmdline").text


def test_the_state_directory_follows_the_environment(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.delenv("VMLAT_LAB_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert instances.default_directory() == tmp_path / "vmlat" / "lab"
