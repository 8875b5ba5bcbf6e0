"""Processes are killed at seeded moments, and what is left must be true. `SIGKILL`, real processes, real files."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
import traceback
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from tests.crash.crash_checks import Found, check
from tests.crash.crash_child import exit_now, found, live, prepare, tell

from answerable.journal.verify import verify_database
from answerable.project import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.crash_child import Story, World

POINTS = 220
"""How many deaths at least."""
KEPT: dict[str, int] = {
    "a-refusal-because-it-had-happened-was-called-a-failure": 0,
    "the-same-after-a-second-crash": 1,
    "the-same-at-a-vendor-that-ignores-keys": 4,
}
"""Seeds that failed once, by what was wrong then."""


def play(story: Story, world: World, place: Path) -> Found:
    """Tell one story to its end: kill, resume, kill again, approve, and let it finish."""
    found(story, world, place)
    number = 0
    while live(story, world, place, number):
        number += 1
    if story.approves:
        last = replace(story, kills=(*(0 for _ in range(number + 1)), 1 + story.seed % 45))
        if live(last, world, place, number + 1, approves=True):
            live(last, world, place, number + 2)
    return check(story, place)


def _worker(seeds: list[int], world: World, folder: Path, out: Path) -> None:
    with out.open("w") as file:
        for seed in seeds:
            try:
                told = play(tell(seed, world), world, folder / f"seed-{seed}")
            except BaseException:
                told = Found(seed=seed, deaths=[], problems=[traceback.format_exc()])
            file.write(json.dumps(asdict(told)) + "\n")
            file.flush()


def _tell_all(seeds: list[int], world: World, folder: Path) -> list[Found]:
    """Two processes share the seeds; each forks the children of its own."""
    workers: list[int] = []
    for index in range(2):
        worker = os.fork()
        if worker == 0:
            try:
                _worker(seeds[index::2], world, folder, folder / f"told-{index}")
            finally:
                exit_now(0)
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)
    lines = [line for index in range(2) for line in (folder / f"told-{index}").read_text().splitlines()]
    return [Found(**json.loads(line)) for line in lines]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """What all stories share."""
    return prepare(tmp_path_factory.mktemp("crash"))


@pytest.mark.timeout(240)
def test_nothing_is_lost_doubled_or_left_unsaid_at_any_moment(world: World, tmp_path: Path) -> None:
    """At every moment a process may die: entries stay, keyed effects happen once, what is unknown is said."""
    seeds = list(
        range(int(os.environ.get("CRASH_SEED_FROM", "0")), int(os.environ.get("CRASH_SEEDS", "170")))
    )
    told = _tell_all(seeds, world, tmp_path)

    moments = [each for one in told for each in one.deaths]
    print(
        f"\ncrash: {len(moments)} kills at {len(set(moments))} kinds of moment, {sum(one.runs for one in told)} runs,"
        f" {sum(one.effects for one in told)} effects, {sum(one.unknown for one in told)} unknown and said;"
        f" lost {sum(one.lost for one in told)}, doubled {sum(one.doubled for one in told)},"
        f" unsaid {sum(one.unsaid for one in told)}"
    )
    assert {one.seed: one.problems for one in told if one.problems} == {}
    assert len(told) == len(seeds)
    if len(seeds) >= 170:
        assert len(moments) >= POINTS


def test_a_journal_whose_making_is_interrupted_can_be_opened(tmp_path: Path) -> None:
    """A process that dies while it makes a journal leaves one that the next process can open, or none."""
    dice = random.Random(11)
    for attempt in range(30):
        place = tmp_path / f"journal-{attempt}.db"
        child = os.fork()
        if child == 0:
            asyncio.run(_open_and_close(place))
            exit_now(0)
        time.sleep(dice.random() * 0.012)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        asyncio.run(_open_and_close(place))

        report = verify_database(place)
        assert report.is_ok, report.to_text()


async def _open_and_close(place: Path) -> None:
    await (await open_store(f"sqlite:///{place}")).close()


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_seed_that_failed_once(name: str, world: World, tmp_path: Path) -> None:
    """Seeds are kept by the name of what they found."""
    assert play(tell(KEPT[name], world), world, tmp_path / "kept").problems == []
