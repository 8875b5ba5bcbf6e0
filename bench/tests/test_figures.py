"""The arithmetic between raw readings and published figures."""

import json
from pathlib import Path

import pytest

from bench import meter
from bench.contract import BadAnswer, around, parse
from bench.meter import Folder, Look, Meter, Window
from bench.payload import BYTES, one_kilobyte
from bench.report import Table, cost_on_a_server, ratios_to, throughput
from bench.summary import Spread, ratio, spread
from bench.syncs import count

LINE = {
    "subject": "one",
    "steps": 3,
    "wall_us_per_step": 10.0,
    "wall_us_median_step": 9,
    "cpu_us_per_step": 5.0,
    "bytes_per_step": 100.0,
    "written_bytes_per_step": None,
    "options": {},
    "marks": {},
    "versions": {"sqlite": "3"},
}


class FakeCounters:
    """Clocks that stand still until told; looking at the disk costs time that nobody may pay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for the clocks, the disk and the kernel's count."""
        self.now_ns = 0
        self.stored = 0
        monkeypatch.setattr(meter.time, "perf_counter_ns", lambda: self.now_ns)
        monkeypatch.setattr(meter.time, "process_time_ns", lambda: self.now_ns)
        monkeypatch.setattr(meter, "stored_bytes", self._look)
        monkeypatch.setattr(meter, "_written_bytes", lambda: self.stored * 2)

    def _look(self, _folder: object) -> int:
        self.now_ns += 1_000_000_000
        return self.stored

    def work(self, lasting_ns: int, storing: int) -> None:
        """Let a step take its time and keep its bytes."""
        self.now_ns += lasting_ns
        self.stored += storing


def test_ratio_is_formed_in_each_round_before_the_median_is_taken() -> None:
    """One slow round slows both sides and changes nothing."""
    assert Spread(0.5, 0.5, 0.5) == ratio([1, 50, 2], [2, 100, 4])


def test_a_missing_round_is_refused() -> None:
    """A pair without its partner would shift every pair after it."""
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


def test_spread_keeps_the_extremes() -> None:
    """A median alone hides how far to trust it."""
    assert Spread(2, 1, 9) == spread([9, 1, 2])


def test_looking_is_charged_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Time spent on reading the counters inside a window is taken out of its figures."""
    fake = FakeCounters(monkeypatch)
    whole, early = Window(1, 4), Window(2, 3)
    stopwatch = Meter(Folder(tmp_path), (whole, early))

    stopwatch.tick()
    fake.work(9_000_000, 77)  # the warm-up
    stopwatch.start()
    for micros in (10, 20, 30, 60):
        stopwatch.tick()
        fake.work(micros * 1000, 100)
    stopwatch.finish()

    assert stopwatch.steps == 4
    assert stopwatch.figures(whole).wall_us_per_step == 30
    assert stopwatch.figures(whole).cpu_us_per_step == 30
    assert stopwatch.figures(whole).wall_us_median_step == 25
    assert stopwatch.figures(early).wall_us_per_step == 25
    assert stopwatch.figures(early).bytes_per_step == 100
    assert stopwatch.figures(early).written_bytes_per_step == 200


class FakeServer:
    """A server whose clock moves while it is looked at, which nobody may pay."""

    def __init__(self) -> None:
        """Begin with a server that has worked before."""
        self.cpu_ns = 1_000_000

    def look(self) -> Look:
        """Take a millisecond of the server's time."""
        until = self.cpu_ns
        self.cpu_ns += 1_000_000
        return Look(0, 0, until, self.cpu_ns)


def test_looking_at_a_server_is_charged_to_nobody() -> None:
    """Its clock is read before and after."""
    server, whole = FakeServer(), Window(1, 2)
    stopwatch = Meter(server, (whole, Window(2, 2)))

    stopwatch.start()
    for _ in range(2):
        stopwatch.tick()
        server.cpu_ns += 30_000
    stopwatch.finish()

    assert stopwatch.figures(whole).server_cpu_us_per_step == 30


def test_without_a_server_there_is_no_server_to_charge(tmp_path: Path) -> None:
    """A hole is said to be one."""
    stopwatch = Meter(Folder(tmp_path), (Window(1, 1),))
    stopwatch.start()
    stopwatch.tick()
    stopwatch.finish()

    assert stopwatch.figures(Window(1, 1)).server_cpu_us_per_step is None


def test_a_window_that_was_never_reached_has_no_figures(tmp_path: Path) -> None:
    """Fewer steps than were asked for is an error, not a shorter average."""
    stopwatch = Meter(Folder(tmp_path), ())
    stopwatch.start()
    stopwatch.tick()
    stopwatch.finish()

    with pytest.raises(ValueError, match="never run"):
        stopwatch.figures(Window(1, 2))


def test_a_mark_is_in_the_middle_of_its_window() -> None:
    """Fifty steps, so that a median is one."""
    assert Window(26, 75) == around(50)
    assert around(50).steps == 50


def test_the_last_line_of_output_is_the_answer() -> None:
    """What a library prints before it is no figure."""
    answer = parse(f"a greeting\n{json.dumps(LINE)}\n")

    assert answer.subject == "one"
    assert answer.figures.wall_us_median_step == 9.0
    assert answer.figures.written_bytes_per_step is None
    assert answer.figures.server_cpu_us_per_step is None


@pytest.mark.parametrize("bad", [None, "12", True, -1, float("nan")])
def test_what_is_no_figure_is_refused(bad: object) -> None:
    """A hole must stop the run, for a median would hide it."""
    with pytest.raises(BadAnswer):
        parse(json.dumps({**LINE, "cpu_us_per_step": bad}))


@pytest.mark.parametrize("output", ["", "no JSON", "[]", "{}"])
def test_output_without_figures_is_refused(output: str) -> None:
    """A child that printed something else has measured nothing."""
    with pytest.raises(BadAnswer):
        parse(output)


def test_an_interrupted_call_is_counted_once() -> None:
    """The tracer prints such a call twice."""
    trace = "7 fdatasync(3 <unfinished ...>\n8 fsync(4) = 0\n7 <... fdatasync resumed>) = 0\n"

    assert count(trace) == 2


@pytest.mark.parametrize("step", [0, 9, 10, 99_999])
def test_every_result_is_one_kilobyte(step: int) -> None:
    """A number with more digits must not make a step heavier."""
    assert len(json.dumps(one_kilobyte(step))) == BYTES


def test_a_queue_is_told_in_runs_a_second() -> None:
    """A thousand steps a second are a hundred runs of ten."""
    answer = parse(json.dumps({**LINE, "wall_us_per_step": 1000, "server_cpu_us_per_step": 7}))

    assert throughput([{"one": answer}], steps_a_run=10).rows == (("one", "100", "1,000", "5", "7"),)


def test_a_server_that_was_not_seen_is_not_free() -> None:
    """A round without the server's CPU leaves the column open."""
    seen = parse(json.dumps({**LINE, "server_cpu_us_per_step": 7}))

    (row,) = cost_on_a_server([{"one": seen}, {"one": parse(json.dumps(LINE))}], {}).rows

    assert row[3] == "not measured"


def test_a_table_becomes_markdown() -> None:
    """Numbers are aligned to the right, the subject to the left."""
    table = Table("T", ("subject", "wall"), (("a", "1"),))

    assert table.markdown() == "### T\n\n| subject | wall |\n| --- | ---: |\n| a | 1 |\n"


def test_work_that_is_left_to_the_server_is_not_saved() -> None:
    """The ratio of CPU is of both sides together."""
    ours = parse(json.dumps({**LINE, "server_cpu_us_per_step": 15}))
    theirs = parse(json.dumps({**LINE, "cpu_us_per_step": 38, "server_cpu_us_per_step": 2}))

    table = ratios_to("theirs", [{"ours": ours, "theirs": theirs}])

    assert table.columns[2] == "CPU with server"
    assert table.rows == (("ours", "1.00", "0.50", "1.00"),)
