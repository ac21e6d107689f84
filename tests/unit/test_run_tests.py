"""The runner of `make check` and `make test` counts right and never says more than it knows."""

from __future__ import annotations

import dataclasses
import io
import sys
import time
from pathlib import Path

import pytest

from tools import run_tests
from tools.run_tests import Counts, Outcome, Result, Step, judge, reported, table, total

PYTEST = Step("unit", ("pytest",), 10, "tests/unit")
LINT = Step("lint", ("ruff",), 10)


def python(name: str, code: str, limit_s: float = 20, tests: str | None = None) -> Step:
    return Step(name, (sys.executable, "-c", code), limit_s, tests)


def leaving(report: str, status: int = 0) -> str:
    """Code that leaves this report, as pytest does, where its last argument says."""
    return (
        "import pathlib, sys; print('5 passed in 0.01s');"
        f"pathlib.Path(sys.argv[-1].partition('=')[2]).write_text({report!r});"
        f"sys.exit({status})"
    )


def pytest_step(directory: Path, code: str, *options: str) -> Step:
    """A real pytest with one file of this code."""
    (directory / "test_it.py").write_text(code)
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(directory))
    return Step("real", command, 60, tests=str(directory))


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setattr(run_tests, "LOGS", tmp_path / "logs")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_something.py").touch()
    return tmp_path / "logs"


REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="4" time="0.1">
<testcase classname="a" name="one" time="0.1" /><testcase classname="a" name="two" time="0.1" />
<testcase name="three"><failure message="no">why &lt;not&gt;</failure></testcase>
<testcase name="four"><skipped type="pytest.skip" message="no">here</skipped></testcase>
</testsuite></testsuites>
"""


def test_tests_of_a_report_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert reported(path) == Counts(2, 1, 1)


@pytest.mark.parametrize("content", ["", REPORT[: len(REPORT) // 2], "4 passed in 0.1s"])
def test_no_report_and_a_part_of_one_count_nothing(tmp_path: Path, content: str) -> None:
    assert reported(tmp_path / "missing.xml") is None
    path = tmp_path / "report.xml"
    path.write_text(content)
    assert reported(path) is None


def test_reports_of_pytest_itself_are_understood(logs: Path, tmp_path: Path) -> None:
    step = pytest_step(
        tmp_path,
        "import pytest\n"
        "@pytest.fixture\ndef broken(): raise OSError\n"
        "@pytest.fixture\ndef leaves():\n    yield\n    raise OSError\n"
        "def test_passes(): print('\\x1b[1m<testcase>')\n"
        "def test_fails(): assert False\n"
        "def test_cannot_be_set_up(broken): pass\n"
        "def test_cannot_be_torn_down(leaves): pass\n"
        "@pytest.mark.skip\ndef test_skipped(): pass\n"
        "@pytest.mark.xfail\ndef test_expected(): assert False\n"
        "@pytest.mark.xfail\ndef test_unexpected(): pass\n",
    )
    (result,) = run_tests.run_all([step], 60)
    assert (result.outcome, result.counts) == (Outcome.FAILED, Counts(2, 3, 2))


def test_a_file_that_cannot_be_imported_is_a_failure(logs: Path, tmp_path: Path) -> None:
    (result,) = run_tests.run_all([pytest_step(tmp_path, "import nothing_of_that_name")], 60)
    assert (result.outcome, result.counts) == (Outcome.FAILED, Counts(failed=1))


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_run_that_dies_proves_nothing(logs: Path, tmp_path: Path, how: str) -> None:
    """Not by the tests that passed before, nor by what an earlier run left."""
    code = f"import os\ndef test_passes(): pass\ndef test_dies(): {how}\n"
    logs.mkdir()
    run_tests.report_of(dataclasses.replace(PYTEST, name="real")).write_text(REPORT)
    (result,) = run_tests.run_all([pytest_step(tmp_path, code)], 60)
    assert (result.outcome, result.counts) == (Outcome.FAILED, Counts(failed=1))


def test_a_worker_that_dies_is_a_failure(logs: Path, tmp_path: Path) -> None:
    code = "import os\ndef test_passes(): pass\ndef test_dies(): os._exit(0)\n"
    (result,) = run_tests.run_all([pytest_step(tmp_path, code, "-n", "1")], 60)
    assert (result.outcome, result.counts) == (Outcome.FAILED, Counts(1, 1))


def test_a_passing_run_is_passed() -> None:
    assert judge(PYTEST, 0, Counts(3)).outcome is Outcome.PASSED
    assert judge(LINT, 0, None).outcome is Outcome.PASSED


def test_a_failing_run_has_at_least_one_failure() -> None:
    assert judge(PYTEST, 1, Counts(4, 1)).counts == Counts(4, 1)
    assert judge(PYTEST, 1, Counts(4)).counts == Counts(4, 1)
    assert judge(LINT, 1, None).counts == Counts(failed=1)


def test_a_run_without_a_report_failed_whatever_its_status() -> None:
    for status in (0, 1, -9):
        result = judge(PYTEST, status, None)
        assert (result.outcome, result.counts) == (Outcome.FAILED, Counts(failed=1))


def test_a_failure_in_the_report_outweighs_a_good_exit_status() -> None:
    assert judge(PYTEST, 0, Counts(4, 1)).outcome is Outcome.FAILED


def test_a_run_over_its_time_failed_even_if_it_reported() -> None:
    result = judge(PYTEST, 0, Counts(4), timed_out=True)
    assert (result.outcome, result.counts) == (Outcome.TIMED_OUT, Counts(4, 1))


def test_sums_and_table_hold_every_step() -> None:
    results = [
        Result(PYTEST, Outcome.FAILED, Counts(4, 1, 2), 1.25),
        Result(LINT, Outcome.FAILED, Counts(failed=1), 0.5),
    ]
    assert total(results) == Counts(4, 2, 2)
    lines = table(results).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["unit", "FAILED", "4", "1", "2", "1.2", "s"]
    assert lines[2].split() == ["lint", "FAILED", "1", "0.5", "s"]


def test_every_step_runs_although_one_fails(logs: Path) -> None:
    results = run_tests.run_all(
        [
            python("bad", "raise SystemExit(3)"),
            python("good", leaving(REPORT.replace("failure", "skipped")), tests="tests"),
            Step("gone", ("/nonexistent/program",), 5),
        ],
        60,
    )
    assert [result.outcome for result in results] == [
        Outcome.FAILED,
        Outcome.PASSED,
        Outcome.FAILED,
    ]
    assert total(results) == Counts(passed=2, failed=2, skipped=2)
    assert "5 passed" in (logs / "good.log").read_text()


def test_a_step_whose_machine_crashed_runs_once_more_and_a_failing_one_does_not(
    logs: Path, tmp_path: Path
) -> None:
    count = tmp_path / "runs"
    script = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1]);"
        "p.write_text(p.read_text() + 'x' if p.exists() else 'x');"
        "print('machine broke' if len(p.read_text()) == 1 else '1 passed in 0.1s');"
        "sys.exit(len(p.read_text()) == 1)"
    )
    command = (sys.executable, "-c", script, str(count))
    (result,) = run_tests.run_all([Step("a", command, 10, crash="machine broke")], 200)
    assert result.outcome is Outcome.PASSED and count.read_text() == "xx"
    count.unlink()
    (result,) = run_tests.run_all([Step("a", command, 10, crash="something else")], 60)
    assert result.outcome is Outcome.FAILED and count.read_text() == "x"


def test_after_a_crash_only_the_tests_run_that_have_not_passed(logs: Path, tmp_path: Path) -> None:
    """A real pytest whose third test kills it the first time."""
    (tmp_path / "test_it.py").write_text(
        "import os, pathlib, pytest\n"
        "ran = pathlib.Path(__file__).with_name('ran')\n"
        "@pytest.mark.parametrize('n', ['a', 'b c', 'd'])\n"
        "def test_it(n):\n"
        "    before = ran.read_text() if ran.exists() else ''\n"
        "    ran.write_text(before + n + ',')\n"
        "    if n == 'd' and before.count('d') == 0:\n"
        "        os.write(1, b'machine broke\\n')\n"
        "        os._exit(1)\n"
    )
    command = (sys.executable, "-m", "pytest", "-v", "-s", "-p", "no:cacheprovider", str(tmp_path))
    step = Step("a", command, 60, tests=str(tmp_path), crash="machine broke")
    (result,) = run_tests.run_all([step], 200)
    assert (result.outcome, result.counts) == (Outcome.PASSED, Counts(passed=3))
    assert (tmp_path / "ran").read_text() == "a,b c,d,d,"


def test_a_machine_that_always_crashes_fails_in_the_end(logs: Path) -> None:
    step = python("a", "print('machine broke'); raise SystemExit(1)")
    (result,) = run_tests.run_all([dataclasses.replace(step, crash="machine broke")], 200)
    assert (result.outcome, result.counts.failed) == (Outcome.FAILED, 1)
    assert (logs / "a.log").read_text().count("machine broke") == run_tests.TRIES


def test_only_an_optional_step_may_have_no_test_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    needed = python("needed", "1/0", tests="empty")
    later = dataclasses.replace(needed, name="later", optional=True)
    results = run_tests.run_all([needed, later], 60)
    assert [(result.outcome, result.counts) for result in results] == [
        (Outcome.MISSING, Counts(failed=1)),
        (Outcome.ABSENT, Counts()),
    ]


@pytest.mark.parametrize("counts", [Counts(skipped=5), Counts()])
def test_a_run_in_which_nothing_passed_proves_nothing(counts: Counts) -> None:
    result = judge(PYTEST, 0, counts)
    assert (result.outcome, result.counts.failed) == (Outcome.FAILED, 1)


def test_a_hanging_step_is_interrupted_and_the_next_one_runs() -> None:
    code = """
import sys, time
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("cleaned up")
"""
    begin = time.monotonic()
    hanging, after = run_tests.run_all([python("hang", code, 1.5), python("after", "print(1)")], 60)
    assert time.monotonic() - begin < 20
    assert hanging.outcome is Outcome.TIMED_OUT
    assert "cleaned up" in (run_tests.LOGS / "hang.log").read_text()
    assert after.outcome is Outcome.PASSED


def test_a_step_that_ignores_the_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tests, "GRACE_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    (result,) = run_tests.run_all([python("deaf", code, 1)], 60)
    assert result.outcome is Outcome.TIMED_OUT
    assert result.seconds < 20


def test_a_process_that_outlives_its_step_does_not_hold_the_run() -> None:
    code = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(8)"])
print("left")
"""
    (result,) = run_tests.run_all([python("leaves", code)], 60)
    assert result.outcome is Outcome.PASSED
    assert result.seconds < 6


def test_a_step_after_the_budget_is_not_run_and_counts_as_failed() -> None:
    results = run_tests.run_all([python("late", "print(1)")], 0)
    assert [(r.outcome, r.counts) for r in results] == [(Outcome.NOT_RUN, Counts(failed=1))]


def test_a_quiet_step_shows_that_it_is_alive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tests, "QUIET_S", 0.5)
    run_tests.run(python("quiet", "import time; time.sleep(2)"), 20, io.BytesIO(), 0.0)
    assert "quiet: still running after" in capsys.readouterr().out


def test_last_line_is_the_sum(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lint = python("lint", "print('fine')")
    unit = python("unit", leaving(REPORT, 1), 9, "tests")

    def steps() -> tuple[list[Step], list[Step]]:
        return [lint, unit], []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_tests, "steps", steps)
        assert run_tests.main(["check"]) == 1
        assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed"
        assert run_tests.main(["check", "--budget-minutes", "1", "lint"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 0 failed"


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(SystemExit) as caught:
        run_tests.main(["check", "nonsense"])
    assert caught.value.code == 2
