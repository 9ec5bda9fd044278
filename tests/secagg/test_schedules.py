"""A lying coordinator plays random schedules against the rules, and gets no sub-sum of honest updates.

``schedules.Round`` is the model and says what a leak is. Here are the adversary, which mixes the known
attacks with random moves, and the demonstration that the search can find something: each weakening of the
rules is broken within a few hundred schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from random import Random

import pytest
from schedules import AS_WRITTEN, Attempt, Round, Rule, bits, cohort_threshold

from wardround_common.secagg.thresholds import threshold

SCHEDULES = 100_000
SETTINGS = [
    (n, c) for n in range(3, 13) for c in range(1, n) if cohort_threshold(n, 3, c)
]  # every n - c >= 2 with 2t > n + c
BEYOND = [(n, c + 1) for n, c in SETTINGS if (n, c + 1) not in SETTINGS and n - c > 2]


@dataclass(slots=True)
class Coordinator:
    """The adversary: asks honest sites for whatever may help, in an order of its own."""

    round: Round
    random: Random

    def some(self, mask: int, *, all_of_it: float = 0.5) -> int:
        """A random part of a set; the whole set with probability ``all_of_it`` and more."""
        if self.random.random() < all_of_it:
            return mask
        keep = self.random.getrandbits(12)
        return mask & (keep | self.random.getrandbits(12)) if self.random.random() < 0.7 else mask & keep

    def exactly(self, mask: int, count: int) -> int:
        """That many random members of a set, or all of it."""
        members = list(bits(mask))
        return sum(1 << i for i in self.random.sample(members, min(count, len(members))))

    def begin(self, who: int) -> Attempt:
        a = self.round.announce()
        for i in bits(who & self.round.honest):
            self.round.hello(a, i)
        return a

    def show_cohort(self, a: Attempt, *, lie: float = 0.0) -> None:
        """2: one view for everybody, or another one for some."""
        views = [a.helloed | self.some(self.round.colluders, all_of_it=0.9)]
        if self.random.random() < lie:
            views.append(self.some(a.helloed, all_of_it=0) | self.round.colluders)
        for i in bits(a.helloed):
            self.round.deal(a, i, self.random.choice(views))

    def show_dealers(self, a: Attempt, *, who: int, lie: float = 0.0) -> None:
        """3: one set of dealers per view, or another one for some; and the ABORTs that it likes to show."""
        shown = {number: self.some(said, all_of_it=0.8) for number, said in self.round.aborted.items()}
        claim = self.round.colluders | self.exactly(self.round.honest, self.random.choice((0, 0, 1, 3)))
        for view in set(a.view.values()):
            same = sum(1 << i for i, mine in a.view.items() if mine == view)
            told = [same | view & self.round.colluders]
            if self.random.random() < lie:
                told.append(self.some(same, all_of_it=0) | view & self.round.colluders)
            for i in bits(same & who):
                self.round.mask(a, i, self.random.choice(told), shown=shown, claim=claim)

    def show_survivors(self, a: Attempt, *, who: int, lie: float = 0.0) -> None:
        """4: one set of survivors per history, or one with a victim left out for some."""
        for view, dealers in {(a.view[i], a.dealers[i]) for i in a.dealers}:
            same = sum(1 << i for i, mine in a.dealers.items() if mine == dealers and a.view[i] == view)
            told = [same | dealers & self.round.colluders]
            if self.random.random() < lie:
                told.append(told[0] & ~self.exactly(same, self.random.choice((1, 1, 1, 2))))
            for i in bits(same & who):
                self.round.confirm(a, i, self.random.choice(told))

    def ask_to_open(self, a: Attempt, who: int) -> None:
        for i in bits(who & a.confirmed):
            self.round.open(a, i)

    def ask_to_abort(self, a: Attempt, who: int) -> None:
        for i in bits(who & self.round.honest):
            self.round.abort(a, i)

    def grab(self) -> None:
        """At the end: everything that can still be confirmed and opened."""
        everybody = self.round.honest
        for a in self.random.sample(self.round.attempts, len(self.round.attempts)):
            self.show_survivors(a, who=everybody)
            self.ask_to_open(a, everybody)


def two_sums(adversary: Coordinator) -> None:
    """Most sites open one attempt, the few others are asked for the same update in another one.

    In between: an empty attempt whose ABORTs prove nothing, or ABORTs of sites that have opened already.
    """
    r, random = adversary.round, adversary.random
    fresh = adversary.exactly(r.honest, random.choice((0, 0, 0, 1, 2)))
    first = adversary.begin(r.honest & ~fresh)
    adversary.show_cohort(first)
    adversary.show_dealers(first, who=adversary.some(r.honest, all_of_it=0.8))
    adversary.show_survivors(first, who=r.honest)
    movers = adversary.exactly(first.uploaded, random.randint(1, max(1, r.n - threshold(r.n))))
    early = random.random() < 0.5
    if early:
        adversary.ask_to_open(first, r.honest & ~movers)
    adversary.ask_to_abort(first, r.honest if early and random.random() < 0.5 else movers)
    if random.random() < 0.4:
        empty = adversary.begin(movers)
        adversary.ask_to_abort(empty, movers)
    second = adversary.begin(movers | fresh)
    adversary.show_cohort(second)
    adversary.show_dealers(second, who=r.honest)
    adversary.show_survivors(second, who=r.honest)
    if random.random() < 0.3:
        adversary.ask_to_abort(second, adversary.some(second.uploaded))
        third = adversary.begin(r.honest)
        adversary.show_cohort(third)
        adversary.show_dealers(third, who=r.honest)


def two_survivor_sets(adversary: Coordinator) -> None:
    """One attempt; some are told that a victim survived, the others that it dropped: both its shares."""
    r = adversary.round
    a = adversary.begin(r.honest)
    adversary.show_cohort(a)
    adversary.show_dealers(a, who=r.honest)
    adversary.show_survivors(a, who=r.honest, lie=0.9)


def anything(adversary: Coordinator) -> None:
    """Random moves."""
    r, random = adversary.round, adversary.random
    everybody = r.honest
    for _ in range(random.randint(6, 16)):
        move = random.random()
        if move < 0.2 or not r.attempts:
            if len(r.attempts) < 5:
                adversary.show_cohort(adversary.begin(adversary.some(everybody)), lie=0.3)
            continue
        a = r.attempts[-1] if random.random() < 0.6 else random.choice(r.attempts)
        if move < 0.45:
            adversary.show_dealers(a, who=adversary.some(everybody), lie=0.3)
        elif move < 0.65:
            adversary.show_survivors(a, who=adversary.some(everybody), lie=0.3)
        elif move < 0.8:
            adversary.ask_to_open(a, adversary.some(everybody, all_of_it=0.2))
        elif move < 0.95:
            adversary.ask_to_abort(a, adversary.some(everybody, all_of_it=0.3))
        else:
            r.restart(random.randrange(r.n))


PLANS = (two_sums, two_survivor_sets, anything, anything)


def play(number: int, *, rule: Rule = AS_WRITTEN, settings=SETTINGS) -> Round:
    """Schedule ``number``: always the same one."""
    random = Random(number)
    n, c = random.choice(settings)
    colluders = sum(1 << i for i in random.sample(range(n), c))
    r = Round(n, colluders=colluders, minimum=3 + (random.random() < 0.1), rule=rule)
    adversary = Coordinator(r, random)
    random.choice(PLANS)(adversary)
    adversary.grab()
    return r


def test_no_schedule_gives_a_sub_sum_of_honest_updates():
    opened = retried = completed = twice = 0
    for number in range(SCHEDULES):
        r = play(number)
        assert r.leak() == "", f"schedule {number}"
        sums = len(r.sums())
        opened += sums > 0
        twice += sums > 1
        retried += r.retries > 0
        completed += r.retries > 0 and sums > 0
    print(f"{SCHEDULES} schedules: {opened} with a sum, {twice} with sums of disjoint cohorts,")
    print(f"{retried} in which an update was masked again, {completed} of them with a sum")
    assert opened > SCHEDULES / 4  # the search is not idle
    assert twice > SCHEDULES / 1000
    assert retried > SCHEDULES / 50
    assert completed > SCHEDULES / 100


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        pytest.param(Rule(every=False), SETTINGS, id="only-the-last-attempt-need-be-aborted"),
        pytest.param(Rule(count_colluders=False), SETTINGS, id="colluders-aborts-count"),
        pytest.param(Rule(own_cohort=False), SETTINGS, id="the-coordinator-says-who-was-in-the-cohort"),
        pytest.param(Rule(open_forbids_abort=False), SETTINGS, id="abort-may-follow-open"),
        pytest.param(Rule(bound_colluders=False), BEYOND, id="one-colluder-more-than-the-bound"),
    ],
)
def test_a_weaker_rule_is_broken_soon(rule, settings):
    for number in range(20_000):
        if leak := play(number, rule=rule, settings=settings).leak():
            print(f"broken by schedule {number + 1}: {leak}")
            assert play(number, settings=settings).leak() == ""
            return
    pytest.fail("20,000 schedules found nothing")


@pytest.mark.parametrize("rule", [AS_WRITTEN, Rule(bound_colluders=False)])
def test_the_model_finds_exactly_the_sums_that_linear_algebra_finds(rule):
    compared = 0
    for number in range(400):
        r = play(number, rule=rule, settings=SETTINGS if rule.bound_colluders else BEYOND)
        for a in r.attempts:
            if a.openers:
                found = [[Fraction(one >> i & 1) for i in range(r.n)] for one, _ in r._solve(a)]
                solved = by_elimination(r, a)
                assert rank(found) == rank(solved) == rank(found + solved)
                compared += bool(solved)
    assert compared > 50


def by_elimination(r: Round, a: Attempt) -> list[list[Fraction]]:
    """The slow way: every upload as a row over unknown masks and updates; masks eliminated."""
    t = {i: threshold(view.bit_count()) for i, view in a.view.items()}
    colluding = {i: (view & r.colluders).bit_count() for i, view in a.view.items()}
    seed, key = {}, {}
    for i in a.view:
        survived = sum(a.survivors[o] >> i & 1 for o in bits(a.openers))
        dropped = sum((a.dealers[o] & ~a.survivors[o]) >> i & 1 for o in bits(a.openers))
        seed[i], key[i] = survived + colluding[i] >= t[i], dropped + colluding[i] >= t[i]
    pairs = list(combinations(range(r.n), 2))
    rows = []
    for i in bits(a.uploaded):
        alone = [Fraction(j == i and not seed[i]) for j in range(r.n)]
        shared = [
            Fraction(sign)
            if i in pair and (a.dealers[i] & r.honest) >> other & 1 and not key[i] and not key[other]
            else Fraction(0)
            for pair in pairs
            for other, sign in [(pair[1], 1) if pair[0] == i else (pair[0], -1)]
        ]
        rows.append(alone + shared + [Fraction(j == i) for j in range(r.n)])
    masks = r.n + len(pairs)
    return [row[masks:] for row in reduced(rows) if not any(row[:masks])]


def reduced(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """Row echelon form without zero rows."""
    rows, done = [row[:] for row in rows], []
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is not None:
            rows.remove(pivot)
            done.append(pivot)
            for row in rows:
                if row[column]:
                    factor = row[column] / pivot[column]
                    row[:] = [x - factor * y for x, y in zip(row, pivot, strict=True)]
    return done


def rank(rows: list[list[Fraction]]) -> int:
    return len(reduced(rows))
