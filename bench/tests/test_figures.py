"""The arithmetic between raw readings and published figures."""

import json

import pytest

from bench import meter
from bench.contract import BadAnswer, around, parse
from bench.meter import Meter, Window
from bench.payload import BYTES, one_kilobyte
from bench.report import Table
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


def test_looking_is_charged_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Time spent on reading the counters inside a window is taken out of its figures."""
    fake = FakeCounters(monkeypatch)
    whole, early = Window(1, 4), Window(2, 3)
    stopwatch = Meter(tmp_path, (whole, early))  # pyright: ignore[reportArgumentType]

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


def test_a_window_that_was_never_reached_has_no_figures(tmp_path: object) -> None:
    """Fewer steps than were asked for is an error, not a shorter average."""
    stopwatch = Meter(tmp_path, ())  # pyright: ignore[reportArgumentType]
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


def test_a_table_becomes_markdown() -> None:
    """Numbers are aligned to the right, the subject to the left."""
    table = Table("T", ("subject", "wall"), (("a", "1"),))

    assert table.markdown() == "### T\n\n| subject | wall |\n| --- | ---: |\n| a | 1 |\n"
