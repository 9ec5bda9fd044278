"""The ABORT rule: when a site may send its update again in another attempt at the same round.

It is the *others* who open a site's update, and two sums over different sets of sites differ by a smaller
sum. So before a site masks the same update again, every earlier attempt in which it did so must be closed
for ever, by statements that the site can count itself.

Rules:

* A site that opened in this round sends nothing more in it.
* Otherwise it needs, for **every** earlier attempt in which it recorded MASKED, ABORTs of at least
  ``aborts_needed`` distinct members of the cohort that **it recorded** then, its own among them.
* A site without such a record joins freely: nothing of it can be opened.

Why n - t + 1 + c suffices: an ABORT says "I have not opened this attempt and never will". At most c of those
who said it lie, so n - t + 1 members keep to it, and at most t - 1 are left who might still open: with the
colluders among them, one fewer than recover a secret of the site. The count is at most t, since 2t > n + c
(``thresholds``), so t members who can be reached can always close an attempt.

Why every attempt, and not the last one only: in between the coordinator can announce an attempt that nobody
masks in, and show that one aborted. Why the recorded cohort: in a smaller one that it claims, the colluders
alone would be enough.

Not here: whose signatures the ABORTs carry (``messages.envelope``), what was recorded (the site's record),
that a site never opens what it aborted and never aborts what it opened (the state machine).

Privacy: numbers and names of sites only.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al. 2017, section 6 (a site's update
must not be opened in two different sets).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wardround_common.secagg.refusals import refuse


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedAttempt:
    """An attempt of this round in which a site recorded MASKED.

    Attributes:
        attempt: Its number.
        cohort: Names in ascending order, as this site recorded them.
        t: The threshold of that cohort.
    """

    attempt: int
    cohort: tuple[str, ...]
    t: int


def aborts_needed(attempt: MaskedAttempt, *, max_colluders: int) -> int:
    """How many members of its cohort must have said ABORT before the attempt counts as closed: n - t + 1 + c.

    Args:
        attempt: What the site recorded.
        max_colluders: c, the site's own setting.
    """
    return len(attempt.cohort) - attempt.t + 1 + max_colluders


def check_retry(
    masked: Sequence[MaskedAttempt],
    *,
    aborts: Mapping[int, Collection[str]],
    site: str,
    opened: bool,
    max_colluders: int,
) -> None:
    """Return only if the site may send MASKED (again) in this round.

    Guarantees, with at most ``max_colluders`` dishonest members in each recorded cohort: in no earlier
    attempt has the site's update been opened, nor can it ever be.

    | case | outcome |
    |---|---|
    | nothing masked, nothing opened in this round | may send |
    | opened in this round, whatever is aborted | ``secagg.already_opened`` |
    | one ABORT too few for any one earlier attempt | ``secagg.not_aborted``, naming the first such attempt |
    | ABORTs, but none of an earlier attempt | ``secagg.aborted_elsewhere`` |
    | enough ABORTs, the site's own missing | ``secagg.not_aborted``: the site itself could still open |
    | ABORTs of sites outside the recorded cohort | do not count |
    | a site listed twice | counts once |
    | ABORTs of attempts in which the site masked nothing | are not looked at |

    Args:
        masked: Every earlier attempt of this round in which the site recorded MASKED, in any order.
        aborts: By attempt, whose ABORT statements this site holds; the caller has verified the signatures.
        site: This site.
        opened: Whether the site has opened in this round, in whichever attempt.
        max_colluders: c, the site's own setting.

    Raises:
        SecAggError: ``secagg.already_opened``; ``secagg.not_aborted`` or ``secagg.aborted_elsewhere``, which
            later ABORTs may mend.
    """
    if opened:
        raise refuse("already_opened", f"{site} has opened in this round: its update may be in a sum")
    for earlier in masked:
        if any(aborts.values()) and not aborts.get(earlier.attempt):
            raise refuse(
                "aborted_elsewhere",
                f"expected ABORTs of attempt {earlier.attempt}, in which {site} sent its update, got only "
                f"those of attempt {max(aborts)}",
                retryable=True,
            )
        said = set(aborts.get(earlier.attempt, ())).intersection(earlier.cohort)
        needed = aborts_needed(earlier, max_colluders=max_colluders)
        if len(said) < needed or site not in said:
            own = "with" if site in said else "without"
            raise refuse(
                "not_aborted",
                f"expected ABORT of attempt {earlier.attempt} from at least {needed} of its "
                f"{len(earlier.cohort)} members, {site} included, got {len(said)} {own} {site}",
                retryable=True,
            )
