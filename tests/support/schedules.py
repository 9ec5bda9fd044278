"""One round without cryptography: who masked, confirmed, opened and aborted what, and what that adds up to.

``Round`` holds honest sites that follow the protocol of ARCHITECTURE.md. Its methods are what a coordinator
may ask of one of them; each returns whether the site complied. Whatever the coordinator tells them is its
own invention: views of the cohort, sets of dealers and of survivors, the ABORTs that it shows. What it cannot
invent is what honest sites sign: HELLO, DEAL, MASKED, CONFIRM and ABORT. Colluders sign anything, and open
everything to everybody.

The rules are the production ones: ``check_cohort``, ``threshold`` and ``check_retry`` are called as they are.
``Rule`` says in which single respect a test weakens them.

Sets of sites are integers: bit i stands for site i.

*What the adversary knows.* A share that an honest site dealt can be read by its holder only, within the view
that both signed. The self-mask seed of an upload is known with t shares: those of colluders in its view, and
those in OPENs of honest sites that counted it a survivor; likewise its mask key, from OPENs that counted it
dropped. ``Round.sums`` then solves exactly for what the masks leave: an unknown pair mask sits on two uploads
and goes only if both are added, so uploads that are linked by unknown pair masks come out together or not at
all.

*What counts as a leak.* Every honest site sends one and the same update in all attempts. Let the sums found
be over the honest sets A, B, ... (colluders' updates are known and subtracted). The adversary can form
exactly their linear combinations. Every combination is constant on each of the sets if and only if every
single sum is, that is if any two of the sets are equal or disjoint; otherwise some combination weighs two
sites of one sum differently, as A - B does: a sub-sum. So there is a leak where two sets overlap without
being equal, or where one is smaller than the rule promises: the survivors that a site insists on, less the
colluders in its view. Disjoint cohorts in one round are no leak: each is a sum that its members agreed to.

The model is more generous to the adversary than the programs: a site goes on with an older attempt although a
newer one began, and a restarted site goes on from its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from wardround_common.errors import SecAggError
from wardround_common.secagg.retry import MaskedAttempt, check_retry
from wardround_common.secagg.thresholds import check_cohort, threshold

NAMES = tuple("abcdefghijkl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The rule as written, or with one word changed.

    Attributes:
        every: ABORTs are required for every earlier attempt in which the site masked; False: only if that is
            the attempt that it began last. (Counting the last one *masked in* is not weaker: by induction the
            ones before it are closed.)
        count_colluders: The +c is required.
        own_cohort: ABORTs count among the cohort that the site recorded; False: that the coordinator claims.
        open_forbids_abort: A site that has opened an attempt does not abort it.
        bound_colluders: Cohorts with 2t <= n + c are refused.
    """

    every: bool = True
    count_colluders: bool = True
    own_cohort: bool = True
    open_forbids_abort: bool = True
    bound_colluders: bool = True


AS_WRITTEN = Rule()


def bits(mask: int) -> Iterator[int]:
    """The sites in a set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@cache
def names(mask: int) -> tuple[str, ...]:
    """A set as the production functions read it."""
    return tuple(NAMES[i] for i in bits(mask))


@cache
def recorded(attempt: int, cohort: int) -> MaskedAttempt:
    """The row that a site writes before MASKED leaves."""
    return MaskedAttempt(attempt=attempt, cohort=names(cohort), t=threshold(cohort.bit_count()))


@cache
def cohort_threshold(n: int, minimum: int, max_colluders: int) -> int:
    """What ``check_cohort`` returns, 0 where it refuses."""
    try:
        return check_cohort(n, minimum=minimum, max_colluders=max_colluders)
    except SecAggError:
        return 0


@dataclass(slots=True)
class Attempt:
    """What honest sites have done in one attempt: sets of sites, and by site what each was told."""

    number: int
    helloed: int = 0
    dealt: int = 0
    uploaded: int = 0
    confirmed: int = 0
    openers: int = 0
    lost: int = 0
    """Restarted after HELLO and before MASKED: the one-attempt keys are gone."""
    view: dict[int, int] = field(default_factory=dict)
    dealers: dict[int, int] = field(default_factory=dict)
    survivors: dict[int, int] = field(default_factory=dict)


class Round:
    """Honest sites, colluders and everything that was signed in one round.

    Args:
        n: Sites of the study, 3 to 12.
        colluders: Set of those who work for the coordinator.
        minimum: Every honest site's smallest cohort.
        rule: The rule that honest sites follow.
    """

    def __init__(self, n: int, *, colluders: int, minimum: int = 3, rule: Rule = AS_WRITTEN) -> None:
        self.n, self.colluders, self.minimum, self.rule = n, colluders, minimum, rule
        self.c = colluders.bit_count()
        self.honest = (1 << n) - 1 & ~colluders
        self.attempts: list[Attempt] = []
        self.begun: list[list[int]] = [[] for _ in range(n)]
        self.masked: list[list[MaskedAttempt]] = [[] for _ in range(n)]
        self.opened = 0
        self.aborted: dict[int, int] = {}
        """By attempt, the honest sites that signed ABORT."""
        self.retries = 0
        """How often a site masked its update again."""

    def threshold(self, cohort: int) -> int:
        """T of a cohort that sites accept, else 0."""
        size = cohort.bit_count()
        if not self.rule.bound_colluders:
            return threshold(size) if size >= self.minimum else 0
        return cohort_threshold(size, self.minimum, self.c)

    def announce(self) -> Attempt:
        """A new attempt. Sites need not be told of every one, nor in order."""
        self.attempts.append(Attempt(len(self.attempts) + 1))
        return self.attempts[-1]

    def hello(self, a: Attempt, i: int) -> bool:
        """1: attempts are strictly increasing at a site."""
        begun = self.begun[i]
        if begun and begun[-1] >= a.number:
            return False
        begun.append(a.number)
        a.helloed |= 1 << i
        return True

    def deal(self, a: Attempt, i: int, view: int) -> bool:
        """2: one view of the cohort, of sites whose HELLOs the coordinator can show."""
        me = 1 << i
        if not me & a.helloed & view & ~a.dealt & ~a.lost or view & ~a.helloed & ~self.colluders:
            return False
        if not self.threshold(view):
            return False
        a.view[i] = view
        a.dealt |= me
        return True

    def mask(self, a: Attempt, i: int, dealers: int, *, shown: dict[int, int], claim: int) -> bool:
        """3: the update leaves, if everything before is closed.

        Args:
            a: The attempt.
            i: The site.
            dealers: Who dealt, as the coordinator tells.
            shown: By attempt, the ABORTs of honest sites that it shows; it adds the colluders'.
            claim: The cohort of earlier attempts as it claims it; only a weakened rule believes that.
        """
        me = 1 << i
        if not me & a.dealt & dealers & ~a.uploaded & ~a.lost or self.begun[i][-1] != a.number:
            return False
        view = a.view[i]
        if (
            dealers & ~view
            or self._another(a.view, view, dealers & a.dealt)
            or dealers & self.honest & ~a.dealt
        ):
            return False
        if dealers.bit_count() < self._needed(view) or me & self.aborted.get(a.number, 0):
            return False
        if not self._may_retry(a, i, shown, claim):
            return False
        self.retries += bool(self.masked[i])
        self.masked[i].append(recorded(a.number, view))
        a.dealers[i] = dealers
        a.uploaded |= me
        return True

    def confirm(self, a: Attempt, i: int, survivors: int) -> bool:
        """4: one set of survivors, of those who signed an upload over the same dealers."""
        me = 1 << i
        if not me & a.uploaded & survivors & ~a.confirmed or me & self.aborted.get(a.number, 0):
            return False
        dealers, honest = a.dealers[i], survivors & self.honest
        if survivors & ~dealers or honest & ~a.uploaded or self._another(a.dealers, dealers, honest):
            return False
        if survivors.bit_count() < self._needed(a.view[i]):
            return False
        a.survivors[i] = survivors
        a.confirmed |= me
        return True

    def open(self, a: Attempt, i: int) -> bool:
        """5: once per round, on t confirmations of the same set."""
        me = 1 << i
        if not me & a.confirmed & ~self.opened or me & self.aborted.get(a.number, 0):
            return False
        survivors, dealers = a.survivors[i], a.dealers[i]
        confirms = (survivors & self.colluders).bit_count()
        for j in bits(survivors & a.confirmed):
            confirms += a.survivors[j] == survivors and a.dealers[j] == dealers
        if confirms < threshold(a.view[i].bit_count()):
            return False
        a.openers |= me
        self.opened |= me
        return True

    def abort(self, a: Attempt, i: int) -> bool:
        """A: binding from now on."""
        if self.rule.open_forbids_abort and a.openers >> i & 1:
            return False
        self.aborted[a.number] = self.aborted.get(a.number, 0) | 1 << i
        return True

    def restart(self, i: int) -> None:
        """The process dies: keys in memory are gone, the record stays."""
        for a in self.attempts:
            a.lost |= 1 << i & a.helloed & ~a.uploaded

    def sums(self) -> dict[int, int]:
        """The honest sets over which the adversary knows the sum, and the smallest size promised for each."""
        found: dict[int, int] = {}
        for a in self.attempts:
            if a.openers:
                for whole, smallest in self._solve(a):
                    found[whole] = max(smallest, found.get(whole, 0))
        return found

    def leak(self) -> str:
        """What the adversary learns beyond the rule; empty where it learns nothing."""
        found = self.sums()
        for one, smallest in found.items():
            if one.bit_count() < smallest:
                return f"the sum over {names(one)}: expected at least {smallest} honest sites"
            for other in found:
                if other != one and other & one:
                    return f"the difference of the sums over {names(one)} and {names(other)}"
        return ""

    def _needed(self, view: int) -> int:
        return max(threshold(view.bit_count()), self.minimum)

    @staticmethod
    def _another(told: dict[int, int], mine: int, sites: int) -> bool:
        """Whether one of ``sites`` was told, and so signed, something else than this site."""
        return any(told[j] != mine for j in bits(sites))

    def _may_retry(self, a: Attempt, i: int, shown: dict[int, int], claim: int) -> bool:
        masked, rule = self.masked[i], self.rule
        if not rule.every:
            masked = [row for row in masked if row.attempt == self.begun[i][-2]]
        if not rule.own_cohort:
            masked = [recorded(row.attempt, claim | 1 << i) for row in masked]
        aborts = {
            row.attempt: names(shown.get(row.attempt, 0) & self.aborted.get(row.attempt, 0) | self.colluders)
            for row in masked
        }
        try:
            check_retry(
                masked,
                aborts=aborts,
                site=NAMES[i],
                opened=bool(self.opened >> i & 1),
                max_colluders=self.c if rule.count_colluders else 0,
            )
        except SecAggError:
            return False
        return True

    def _solve(self, a: Attempt) -> Iterator[tuple[int, int]]:
        seeds, keys = dict.fromkeys(bits(a.dealt), 0), dict.fromkeys(bits(a.dealt), 0)
        for o in bits(a.openers):
            survivors = a.survivors[o]
            for j in bits(survivors & self.honest):
                seeds[j] += 1
            for j in bits(a.dealers[o] & ~survivors & self.honest):
                keys[j] += 1
        hidden = unknown = 0
        for i, view in a.view.items():
            missing = threshold(view.bit_count()) - (view & self.colluders).bit_count()
            unknown |= (keys[i] < missing) << i  # its pair masks with others of this kind are unknown
            hidden |= (seeds[i] < missing) << i  # its self mask is unknown
        left = a.uploaded
        while left:
            first = left & -left
            whole, sound = self._linked(a, first, unknown)
            left &= ~whole
            if sound and not whole & hidden:
                view = a.view[first.bit_length() - 1]
                yield whole, self._needed(view) - (view & self.colluders).bit_count()

    def _linked(self, a: Attempt, first: int, unknown: int) -> tuple[int, bool]:
        """The uploads that pair masks link to one, and whether all those masks cancel among them."""
        whole, todo, sound = first, first, True
        while todo:
            i = (todo & -todo).bit_length() - 1
            todo &= todo - 1
            linked = a.dealers[i] & self.honest & unknown & ~(1 << i) if unknown >> i & 1 else 0
            for j in bits(linked):
                if not (a.uploaded >> j & 1 and a.dealers[j] >> i & 1):
                    sound = False
                elif not whole >> j & 1:
                    whole |= 1 << j
                    todo |= 1 << j
        return whole, sound
