"""Whatever is filled in, in whatever order, and wherever a backfill is killed: the plan looks again at every night that could see the difference."""

import datetime as dt
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import cast

import pytest

from flows.plan import Plan, Todo
from tasks.lake import Lake

NIGHTS = [dt.date(2026, 3, day) for day in range(1, 15)]
REACH = 3


class Killed(Exception):
    """The process is gone."""


class Memory:
    """What a plan asks of a lake: the nights that have rows, those that are published, and a text to remember."""

    def __init__(self) -> None:
        self.raw: set[dt.date] = set()
        self.published: set[dt.date] = set()
        self.state: str | None = None

    def nights(self, table: str) -> list[dt.date]:
        return sorted(self.raw)

    def published_nights(self) -> list[dt.date]:
        return sorted(self.published)

    def stage(self, night: dt.date) -> SimpleNamespace:
        return SimpleNamespace(names=list)

    def lock(self, night: dt.date, *, run_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def read_state(self, name: str) -> str | None:
        return self.state

    def write_state(self, name: str, text: str) -> None:
        self.state = text

    def plan(self, nights: Sequence[dt.date], pending: Collection[dt.date]) -> Plan:
        return Plan(cast(Lake, self), nights, pending=pending, reach=REACH)


class Model:
    """Nights whose text now and then rests on that of the nights before, as far back as `REACH`, filled in by a process that may be killed."""

    def __init__(self, luck: random.Random) -> None:
        self.lake = Memory()
        self.luck = luck
        self.published: dict[dt.date, str] = {}
        self.looked_at = 0

    def says(self, night: dt.date) -> str:
        """What a night says now: of every third of those it may look at, what that says too."""
        before = [other for other in sorted(self.published) if other < night][-REACH:]
        return f"{night.day}({' '.join(self.published[other] for other in before if (other.day + night.day) % 3 == 0)})"

    def fill(
        self, first: dt.date, last: dt.date, *, at_once: int, kill: float = 0, fail: float = 0, redo: bool = False
    ) -> None:
        """A backfill, group after group, the next planned before one is finished."""
        nights = [night for night in NIGHTS if first <= night <= last]
        pending = [night for night in nights if redo or night not in self.published]
        plan = self.lake.plan(nights, pending)
        group = self.prepared(plan.next(at_once))
        while group:
            ahead = self.prepared(plan.next(at_once))
            plan.unsettle([todo.night for todo in group])
            for todo in group:
                if self.luck.random() < kill:
                    raise Killed
                if self.luck.random() < fail:
                    plan.told(todo.night, changed=None)
                    continue
                said = self.says(todo.night)
                changed = self.published.get(todo.night) != said
                self.published[todo.night] = said
                self.lake.published.add(todo.night)
                self.looked_at += todo.again
                if self.luck.random() < kill:
                    raise Killed
                plan.told(todo.night, changed=changed)
            group = ahead or self.prepared(plan.next(at_once))
        plan.settle()

    def prepared(self, group: Sequence[Todo]) -> Sequence[Todo]:
        """What a reading leaves in the lake."""
        self.lake.raw.update(todo.night for todo in group)
        return group


def ranges(luck: random.Random) -> Iterator[tuple[dt.date, dt.date]]:
    while True:
        first, last = sorted(luck.choices(NIGHTS, k=2))
        yield first, last


@pytest.mark.parametrize("seed", range(60))
def test_any_order_and_any_kills_end_in_the_same_nights(seed: int) -> None:
    luck = random.Random(seed)
    in_order, model = Model(luck), Model(luck)
    in_order.fill(NIGHTS[0], NIGHTS[-1], at_once=1)
    kill, fail = luck.choice((0.0, 0.05, 0.2)), luck.choice((0.0, 0.4))
    for first, last in ranges(luck):
        try:
            model.fill(first, last, at_once=luck.randint(1, 4), kill=kill, fail=fail, redo=luck.random() < 0.5)
        except Killed:
            continue
        if len(model.published) == len(NIGHTS):
            break
    model.fill(NIGHTS[0], NIGHTS[-1], at_once=luck.randint(1, 4))
    assert model.published == in_order.published


def test_nights_in_order_are_not_looked_at_again() -> None:
    model = Model(random.Random(0))
    for night in NIGHTS:
        model.fill(night, night, at_once=4)
    model.fill(NIGHTS[0], NIGHTS[-1], at_once=4)
    assert model.looked_at == 0


def test_looking_again_ends_where_nothing_can_have_changed() -> None:
    model = Model(random.Random(0))
    model.fill(NIGHTS[2], NIGHTS[-1], at_once=1)
    assert model.lake.plan([NIGHTS[1]], []).next(100) == []
    plan = model.lake.plan([NIGHTS[1]], [NIGHTS[1]])
    assert plan.next(1) == [Todo(night=NIGHTS[1])]
    plan.told(NIGHTS[1], changed=True)
    seen = []
    while group := plan.next(1):
        seen += [todo.night for todo in group]
        plan.told(seen[-1], changed=seen[-1] == NIGHTS[3])
    assert seen == NIGHTS[2:7], "the changed one, and so many behind it that came out as they were"


def test_a_published_night_that_could_not_be_redone_is_looked_at_by_the_next_backfill() -> None:
    lake, three = Memory(), NIGHTS[:3]
    lake.raw, lake.published = set(three[1:]), set(three[1:])
    redone = lake.plan(three, three)
    lake.raw.update(todo.night for todo in redone.next(3))
    redone.unsettle([three[0], three[2]])
    lake.published.add(three[0])
    for night, changed in zip(three, (True, None, False), strict=True):
        redone.told(night, changed=changed)
    redone.settle()
    again = lake.plan(three, [])
    assert [todo.night for todo in again.next(3)] == three
    for night in three:
        again.told(night, changed=False)
    again.settle()
    assert lake.plan(three, []).next(3) == []
