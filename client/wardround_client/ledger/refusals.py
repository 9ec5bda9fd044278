"""The sentences with which the ledger refuses.

Not here: those about limits (``limits``) and about broken files (``database``).

Privacy: a message names studies, rounds and fields; never a patient.
"""

from __future__ import annotations

from wardround_common.errors import ConsentError, PrivacyError, StorageError


def not_approved(study: str) -> ConsentError:
    """The study, with this plan, was never approved here."""
    return ConsentError(
        f"the ledger holds no approval of study '{study}' with this plan",
        remedy="Approve the exact digest of the plan first.",
        code="ledger.not_approved",
    )


def other_plan(study: str) -> ConsentError:
    """What was approved is not this plan."""
    return ConsentError(
        f"the digest that was approved is not that of the plan of study '{study}'",
        remedy="Read this plan and approve its digest, or find out who changed it.",
        code="ledger.other_plan",
    )


def closed(study: str) -> ConsentError:
    """The study has ended here."""
    return ConsentError(
        f"study '{study}' is closed at this site",
        remedy="Ask the lead for a new plan with a new study name.",
        code="ledger.closed",
    )


def name_taken(study: str) -> ConsentError:
    """Another plan was approved under the same name."""
    return ConsentError(
        f"study '{study}' was approved here with another plan",
        remedy="Ask the lead to give the changed plan a new study name.",
        code="ledger.name_taken",
    )


def unknown_snapshot() -> ConsentError:
    """Nobody wrote down, or approved, who is in the catalogue."""
    return ConsentError(
        "the catalogue is not the one that was registered and approved",
        remedy="Approve the plan again for the catalogue as it is now.",
        code="ledger.unknown_snapshot",
    )


def snapshot_differs() -> PrivacyError:
    """A snapshot is known with other people."""
    return PrivacyError(
        "this catalogue snapshot was registered before with other patients or sides",
        remedy="Ingest the data anew; the snapshot's digest does not fit its patients.",
        code="ledger.snapshot_differs",
    )


def rerun_differs(number: int, fields: list[str]) -> PrivacyError:
    """A round that was spent would be computed from something else."""
    return PrivacyError(
        f"round {number} was spent already, and {', '.join(fields)} would differ this time",
        remedy="Leave this round out; it is void for this site.",
        code="privacy.rerun_differs",
    )


def round_passed(number: int, last: int) -> PrivacyError:
    """Rounds only go up."""
    return PrivacyError(
        f"expected a round above {last}, got {number}",
        remedy="Leave this round out; the coordinator went back, or this site was restored.",
        code="privacy.round_passed",
    )


def not_reserved(number: int, problem: str) -> PrivacyError:
    """A round's event is not part of what the approval reserved."""
    return PrivacyError(
        f"round {number} would overdraw the reservation: {problem}",
        remedy="Close the study: what was approved is used up, or the round does not follow the plan.",
        code="privacy.overdrawn",
    )


def output_differs(number: int) -> PrivacyError:
    """A round's output is known and is another one."""
    return PrivacyError(
        f"round {number} has another output already",
        remedy="Leave this round out; if its first output is lost, it is void for this site.",
        code="privacy.output_differs",
    )


def rolled_back() -> StorageError:
    """The ledger lacks a row that its head file names."""
    return StorageError(
        "the ledger lacks the row that its head file names: it is older than this site",
        remedy="Restore the newest copy of the ledger; without it, start a new site with a new site secret.",
        code="ledger.rolled_back",
    )


def other_sort(found: str) -> StorageError:
    """A simulation's ledger at a deployed site, or the other way round."""
    return StorageError(
        f"this ledger was made with {found} randomness and is opened by the other sort of site",
        remedy="Give the site a ledger of its own.",
        code="ledger.other_sort",
    )
