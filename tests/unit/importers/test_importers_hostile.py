"""Files that nobody vouches for: cut off, mixed up, in another encoding, endless, or hostile."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.support.pings import Ping, guest, host, logs, pings, write
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.errors import UsageError
from vmlat_tui.importers import directory, lines
from vmlat_tui.importers.directory import Ends
from vmlat_tui.importers.lines import Text
from vmlat_tui.importers.result import EXAMPLES, SourceFile, Trouble

GUEST = "\n".join(line for n in range(1, 21) for line in guest("tx", 1, n, (18, 15, 192, 225)))


def read(path: Path) -> tuple[Collection, SourceFile]:
    collection = Collection()
    (source,) = directory.read([path], collection, Ends()).sources
    return collection, source


def count(collection: Collection, quantity: str = "rtt") -> int:
    return collection.all_values(quantity)[1]


@pytest.mark.parametrize(
    "raw",
    [
        GUEST.encode("utf-16"),
        GUEST.encode("utf-16-le"),
        GUEST.encode("utf-16-be"),
        GUEST.encode("utf-8-sig"),
        GUEST.replace("\n", "\r\n").encode(),
        GUEST.replace("\n", "\r\n").encode("utf-16"),
        GUEST.replace("ping", "p\xefng").encode("latin-1"),
        GUEST.replace("ping", "p\xefng").encode("utf-8"),
        b"\0" * 100_000 + b"\n" + GUEST.encode(),
        GUEST.encode().replace(b"IF=", b"IF=\0"),
        gzip.compress(GUEST.encode()),
    ],
    ids=["utf-16", "utf-16-le", "utf-16-be", "bom", "crlf", "utf-16 crlf", "latin-1", "utf-8",
         "nul block", "nuls", "gzip"],
)  # fmt: skip
def test_any_encoding_gives_the_same(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / ("x.log.gz" if raw.startswith(b"\x1f\x8b") else "x.log")
    path.write_bytes(raw)
    collection, source = read(path)
    assert count(collection) == 20
    assert not source.troubles


@pytest.mark.parametrize("name", sorted(logs(pings(1))))
def test_cut_off_anywhere_gives_no_wrong_value(tmp_path: Path, name: str) -> None:
    files = logs(pings(2))
    whole = Collection()
    directory.read([write(tmp_path / "whole", {name: files[name]})], whole, Ends())
    text = "\n".join(files[name])
    path = tmp_path / name
    for end in range(0, len(text), 7):
        path.write_text(text[:end])
        collection, _ = read(path)
        for quantity in collection.quantities:
            # A number may be cut only where its unit or the next field would show it.
            seen = set(collection.all_values(quantity)[0])
            assert seen <= set(whole.all_values(quantity)[0]), (end, quantity, text[end - 60 : end])


def test_a_cut_gzip_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.log.gz"
    noise = "".join(random.Random(1).choices("abcdefgh ", k=200_000))
    path.write_bytes(gzip.compress((GUEST + "\n" + noise).encode())[:-5000])
    collection, source = read(path)
    assert count(collection) == 20
    assert any("ends early" in note for note in source.notes)


def test_noise_between_the_lines_is_counted(tmp_path: Path) -> None:
    noise = ["Jan  8 kernel: eth0 up", "\x1b[2Jboo", "{}", "-", "Possibly lost 12 samples", ""]
    mixed = list(itertools.chain.from_iterable((line, *noise) for line in GUEST.split("\n")))
    collection, source = read(write(tmp_path, {"x.log": mixed}))
    assert count(collection) == 20
    assert set(source.troubles) == {Trouble.FOREIGN}
    assert source.troubles[Trouble.FOREIGN] == 4 * len(GUEST.split("\n"))
    examples = source.examples[Trouble.FOREIGN]
    assert len(examples) == EXAMPLES
    assert (examples[0].line, examples[0].text) == (2, "Jan  8 kernel: eth0 up")


def test_lines_of_two_tools_in_turn(tmp_path: Path) -> None:
    one = guest("tx", 1, 1, (18, 15, 192, 225))
    other = host(1, 1, (13.5, 144.1, 8.3, 165.9))
    mixed = [one[0], *one[1:3], other[0], other[1], *one[3:]]
    path = write(tmp_path, {"host-send.log": mixed})
    collection, source = read(path)
    assert (count(collection), count(collection, "B")) == (1, 1)
    assert not source.troubles


def test_two_blocks_written_into_each_other_give_nothing_wrong(tmp_path: Path) -> None:
    one, other = guest("tx", 1, 1, (18, 15, 192, 225)), guest("tx", 1, 2, (70, 90, 540, 700))
    mixed = [line for pair in zip(one, other) for line in pair]
    collection, source = read(write(tmp_path, {"x.log": mixed}))
    found = [
        {q: collection.value(q, row) for q in ("A", "M", "sender_inter", "rtt")}
        for row in collection.rows_with(("rtt",))
    ]
    assert all(list(f.values()) == [70_000, 90_000, 540_000, 700_000] for f in found)
    assert sum(source.troubles.values()) > 0


def test_two_hosts_in_one_file_give_nothing_wrong(tmp_path: Path) -> None:
    one, other = host(1, 1, (13, 144, 8, 165)), host(1, 2, (12, 91, 9, 112))
    mixed = [line for pair in zip(one, other) for line in pair]
    collection, source = read(
        write(tmp_path, {"host-send.log": [*mixed, *host(1, 3, (1, 2, 3, 6))]})
    )
    assert [collection.packet(row).sequence for row in collection.rows_with(("B",))] == [3]
    assert source.troubles == {
        Trouble.INCOMPLETE: 1, Trouble.CONTRADICTORY: 1, Trouble.DAMAGED: 1
    }  # fmt: skip


def test_damaged_lines_do_not_take_the_others_along(tmp_path: Path) -> None:
    text = GUEST.replace("Seq: 3)", "Seq: x)").replace("Seq: 5)", "Seq: 99999999)")
    collection, source = read(write(tmp_path, {"x.log": text.split("\n")}))
    assert count(collection) == 18
    assert source.troubles == {Trouble.DAMAGED: 2, Trouble.INCOMPLETE: 2}


def test_duplicates_are_counted_and_the_first_stays(tmp_path: Path) -> None:
    block, again = guest("tx", 1, 1, (18, 15, 192, 225)), guest("tx", 1, 1, (28, 25, 292, 345))
    collection, source = read(write(tmp_path, {"x.log": [*block, *again]}))
    assert collection.all_values("rtt")[0] == [225_000]
    assert source.troubles == {Trouble.DUPLICATE: 1}


def test_numbers_without_end(tmp_path: Path) -> None:
    nines = "9" * 8000
    text = [
        f"Session: a -> b (ID: {nines}, Seq: 1)",
        *GUEST.replace("18.000 us", f"{nines} us").split("\n"),
        f"2026-01-08 15:01:10.100 [complete] ID={nines} Seq=1 ReqRX:Y",
        f"  Latency(us): ReqInternal={nines} External=1.1.1 RepInternal=- Total=.",
        f"TUN TX [x:q1] Stage 1: ICMP a -> b type={nines} id={nines} seq=1",
        *(f"TUN TX [x:q1] Stage {n}: Delay={nines}ms" for n in range(2, 6)),
        f"[14:20:31.412] tid={nines} queue=1 s0={nines}us s1=3us s2=5us total=22us",
        "Exact averages (us):", f"  S0 avg: {nines}", "  S1 avg: 1.2.3",
        f"ICMP: a -> b (id={nines}, seq=1, type={nines})",
    ]  # fmt: skip
    _, source = read(write(tmp_path, {"x.log": text}))
    assert source.troubles


def test_a_line_without_end_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with open(path, "wb") as file:
        file.write(GUEST.encode() + b"\n")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + GUEST.replace("(ID: 1,", "(ID: 2,").encode())
    tracemalloc.start()
    collection, source = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count(collection) == 40
    assert source.troubles == {Trouble.FOREIGN: 1}
    assert source.text.overlong == 1
    assert peak < 16 << 20


def test_random_bytes_and_random_cuts_never_fail(tmp_path: Path) -> None:
    chance = random.Random(7)
    whole = "\n".join(line for found in logs(pings(5)).values() for line in found).encode()
    path = tmp_path / "x.log"
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(chance.randrange(1, 200)):
            begin = chance.randrange(len(raw))
            raw[begin : begin + chance.choice((0, 1, 1, 5))] = chance.randbytes(
                chance.choice((0, 1, 3))
            )
        path.write_bytes(raw)
        read(path)
    path.write_bytes(chance.randbytes(300_000))
    read(path)


def test_every_line_is_given_once_however_it_is_cut(tmp_path: Path) -> None:
    chance = random.Random(3)
    lengths = [chance.choice((0, 1, 80, 16_383, 16_384, 16_385, 300_000)) for _ in range(60)]
    wanted = [str(n) + "x" * length for n, length in enumerate(lengths)]
    path = tmp_path / "x"
    path.write_text("\n".join(wanted))
    text = Text(path)
    assert list(lines.read(text)) == [line[: lines.LONGEST] for line in wanted]
    assert text.overlong == sum(len(line) > lines.LONGEST for line in wanted)


def test_what_is_no_file_is_said_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, {"x.log": GUEST.split("\n")})
    collection, _ = read(tmp_path)
    assert count(collection) == 20
    found = directory.read([tmp_path / "pipe", tmp_path / "x.log"], Collection(), Ends())
    assert len(found.unreadable) == 1 and "not a regular file" in found.unreadable[0]
    with pytest.raises(UsageError, match="there is no"):
        directory.read([tmp_path / "nothing"], Collection(), Ends())


def test_a_sequence_that_wraps_in_the_logs(tmp_path: Path) -> None:
    numbers = [*range(65_500, 65_536), *range(40)]
    found = [Ping(n) for n in numbers] + [Ping(n) for n in range(100, 65_500, 5_000)]
    found += [Ping(n) for n in numbers]
    collection = Collection()
    read_in = directory.read([write(tmp_path, logs(found))], collection, Ends())
    assert not any(source.troubles for source in read_in.sources)
    assert len(collection.rows_with(("rtt", "B", "D", "F", "E", "L"))) == len(found)


@pytest.mark.parametrize(
    "fragment",
    ["=== ICMP RTT Trace: ", "(TX", "ICMP a->", " -> ", "[", "[x] ", "0", "9.", " ", "ID=1 Seq=1 ",
     "Total=1 ", "type=8 "],
)  # fmt: skip
@pytest.mark.parametrize(
    "head",
    ["=== ICMP RTT Trace: ", "Session: ", "2026-01-08 15:01:10.100 ", "  Latency(us): ",
     "TUN TX INTERRUPT [a] Stage 1 ", "S0 ", "Exact averages (us): S0=", "FLOW: ", "Total Path 1: ",
     "Request received at ", "[1] tid="],
)  # fmt: skip
def test_no_line_takes_long(tmp_path: Path, head: str, fragment: str) -> None:
    line = (head + fragment * 20_000)[: lines.LONGEST]
    path = write(tmp_path, {"x.log": [*guest("tx", 1, 1, (1, 1, 1, 3))[1:3], *[line] * 5]})
    begin = time.process_time()
    read(path)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    "text",
    [
        '[{"stage": 1, "stage_name": "x"}, {"stage": 2, "delay_ns": Infinity}]',
        '[{"stage": Infinity, "stage_name": "x"}]',
        '[{"stage": 1, "stage_name": "x"}, {"stage": 2, "delay_ns": 1' + "0" * 400 + "}]",
        '[{"stage_name": 1, "stage": ' + "[" * 5000,
        '[{"stage_name":' * 3000,
        '{"type": "capture", "schema": 1}\n{"type": "reading", "ns": {"A": 1e400}}',
        '{"type": "hello"}\n',
        '{"type": "hello", "schema": 1, "clock": 3}\n{"type": "packet", "direction": "tx",'
        ' "flow": 5}\n{"type": "packet", "flow": {"protocol": "icmp"}, "total_ns": Infinity,'
        ' "direction": "rx"}\n',
    ],
)
def test_hostile_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    collection, source = read(tmp_path)
    assert not collection.quantities
    assert source.troubles or source.notes


@pytest.mark.parametrize(
    "text",
    [
        "[" + '{"stage_name":' * 50_000,
        '[{"stage_name":"a"},' + '{"a":[' * 50_000,
        '[{"stage_name":"a"},' + "{" * 500_000,
        '[{"stage_name":"a"},' + '{"' * 200_000,
        '[{"stage_name":"a"},' + '{"a"' * 100_000,
        '[{"stage_name":"a"},{"x":"' + '\\"' * 200_000,
    ],
    ids=lambda text: text[:60],
)
def test_no_json_takes_long(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    begin = time.process_time()
    collection, source = read(tmp_path)
    assert time.process_time() - begin < 1
    assert not collection.quantities and source.troubles


def test_a_task_s_name_may_hold_braces(tmp_path: Path) -> None:
    stages: list[dict[str, object]] = [
        {"stage": n, "stage_name": "s", "queue_key": "q", "comm": 'a{"}]', "delay_ns": 10,
         "protocol": 1, "icmp_type": 8, "icmp_id": 5, "icmp_seq": 1}
        for n in range(1, 6)
    ]  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(stages))
    collection, source = read(tmp_path)
    assert collection.all_values("E")[1:] == (1, 30) and not source.troubles


def test_an_interval_without_end_is_damage_and_counts_nowhere(tmp_path: Path) -> None:
    delays = {1: None, 2: 1 << 70, 3: 5, 4: 5, 5: 5}
    stages = [
        {"stage": n, "stage_name": "s", "queue_key": "q", "delay_ns": delay, "protocol": 1,
         "icmp_type": 8}
        for n, delay in delays.items()
    ]  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(stages))
    collection, source = read(tmp_path)
    assert source.troubles[Trouble.DAMAGED] == 1 and not collection.quantities
