"""The plans that reached a site, and what a person decided about each.

``plans/DIGEST/`` holds the plan as the lead signed it, the catalogue that was read for it, and ``approved``
where a person approved exactly this digest.

Rules:

* Default deny: a plan without ``approved`` does nothing.
* Before a plan can be approved its images must have been read: the approval reserves their patients' budget.

Not here: the checks that an approval makes (``site``).

Privacy: as the catalogue; nothing leaves.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from wardround_client.catalogue import CATALOGUE_FILE
from wardround_common.errors import ConfigError, ConsentError
from wardround_common.files import OWNER_ONLY, private_folder, read, write
from wardround_common.plan import StudyPlan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest

MARK = "approved"
SHORTEST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Shelved:
    """One plan of a site.

    Attributes:
        folder: Where it lies.
        signed: The plan as the lead signed it.
        plan: The plan.
    """

    folder: Path
    signed: bytes
    plan: StudyPlan

    @property
    def digest(self) -> str:
        """The plan's digest in hex."""
        return plan_digest(self.plan).hex()

    @property
    def catalogue(self) -> Path:
        """Where the images that were read for it lie."""
        return self.folder / "data" / CATALOGUE_FILE

    @property
    def approved(self) -> bool:
        """Whether a person approved it."""
        return (self.folder / MARK).is_file()

    @property
    def state(self) -> str:
        """In words."""
        if self.approved:
            return "approved"
        return "not approved" if self.catalogue.is_file() else "not approved, no data read"

    def approve(self) -> None:
        """Write that a person approved it.

        Raises:
            ConsentError: ``plan.no_data``.
        """
        if not self.catalogue.is_file():
            raise ConsentError(
                "no images were read for this plan yet",
                remedy="Read them first with `wardround-site data add`.",
                code="plan.no_data",
            )
        write(self.folder / MARK, self.digest.encode(), mode=OWNER_ONLY)


class Shelf:
    """The plans of a site, in ``home``/plans."""

    def __init__(self, home: Path) -> None:
        self._path = home / "plans"

    def add(self, signed: bytes) -> Shelved:
        """Keep a plan that its lead signed.

        Raises:
            ProtocolError, ConsentError: ``trust.open_plan``.
        """
        plan = open_plan(signed, today=datetime.date.today())
        folder = self._path / plan_digest(plan).hex()
        private_folder(folder)
        write(folder / "plan", signed, mode=OWNER_ONLY)
        return Shelved(folder, signed, plan)

    def all(self) -> list[Shelved]:
        """Every plan, by digest. Expired ones too: they are listed, and refused when they are used."""
        return [self._open(path.parent) for path in sorted(self._path.glob("*/plan"))]

    def approved(self) -> set[str]:
        """The digests that a person approved."""
        return {path.parent.name for path in self._path.glob(f"*/{MARK}")}

    def find(self, digest: str) -> Shelved:
        """The plan whose digest begins with ``digest``.

        Raises:
            ConfigError: ``plan.unknown``.
        """
        wanted = "".join(digest.split()).lower()
        found = [path.parent for path in self._path.glob("*/plan") if path.parent.name.startswith(wanted)]
        if len(found) != 1 or len(wanted) < SHORTEST_PREFIX:
            raise ConfigError(
                f"expected the digest of one plan, or its first {SHORTEST_PREFIX} digits",
                remedy="See `wardround-site plan list`.",
                code="plan.unknown",
            )
        return self._open(found[0])

    def _open(self, folder: Path) -> Shelved:
        signed = read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES)
        return Shelved(folder, signed, open_plan(signed, today=datetime.date.min))
