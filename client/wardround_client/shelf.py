"""The plans that reached a site, and what a person decided about each.

``plans/DIGEST/`` holds the plan as the lead signed it, the catalogue that was read for it, and ``approved``
or ``refused`` where a person said so about exactly this digest.

Rules:

* Default deny: a plan without ``approved`` does nothing, and neither does one with ``refused``.
* A refusal stands until a person says that it was reconsidered.
* Before a plan can be approved its images must have been read: the approval reserves their patients' budget.

Not here: the checks that an approval makes (``site``).

Privacy: as the catalogue; nothing leaves.
"""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from wardround_client.catalogue import CATALOGUE_FILE
from wardround_client.pins import Pins
from wardround_common.errors import ConfigError, ConsentError
from wardround_common.files import OWNER_ONLY, private_folder, read, sync_folder, unwritable, write
from wardround_common.plan import StudyPlan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest

MARK = "approved"
REFUSED = "refused"
SHORTEST_PREFIX = 8
_REFUSAL_LIMIT_BYTES = 8192


class Refusal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a person refused a plan: when, and why in their own words."""

    since: str
    reason: str = ""


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
        """Whether a person approved it, and nobody refused it since."""
        return self.was_approved and self.refusal is None

    @property
    def was_approved(self) -> bool:
        """Whether a person approved it once."""
        return (self.folder / MARK).is_file()

    @property
    def refusal(self) -> Refusal | None:
        """That a person refused it; also where the mark cannot be read."""
        path = self.folder / REFUSED
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(read(path, limit_bytes=_REFUSAL_LIMIT_BYTES), type=Refusal)
        except (ConfigError, msgspec.DecodeError, UnicodeDecodeError):
            return Refusal(since="an unknown time")

    @property
    def expired(self) -> bool:
        """Whether its last day is over."""
        return datetime.date.today().isoformat() > self.plan.expires

    @property
    def state(self) -> str:
        """In words."""
        refusal = self.refusal
        if refusal is not None:
            withdrawn = ", which withdrew the approval" if self.was_approved else ""
            reason = f": {refusal.reason}" if refusal.reason else ""
            return f"refused since {refusal.since}{withdrawn}{reason}"
        if self.approved:
            return "approved, expired" if self.expired else "approved"
        return "not approved" if self.catalogue.is_file() else "not approved, no data read"

    def approve(self, *, reconsider: bool = False) -> None:
        """Write that a person approved it.

        Args:
            reconsider: Whether a refusal is taken back.

        Raises:
            ConsentError: ``plan.no_data``, ``plan.refused``.
        """
        self.check_reconsidered(reconsider=reconsider)
        if not self.catalogue.is_file():
            raise ConsentError(
                "no images were read for this plan yet",
                remedy="Read them first with `wardround-site data add`.",
                code="plan.no_data",
            )
        write(self.folder / MARK, self.digest.encode(), mode=OWNER_ONLY)
        try:
            (self.folder / REFUSED).unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise unwritable(self.folder / REFUSED, error) from error

    def check_reconsidered(self, *, reconsider: bool) -> None:
        """Return only if the plan was not refused, or a person says that this was reconsidered.

        Raises:
            ConsentError: ``plan.refused``.
        """
        if self.refusal is not None and not reconsider:
            raise ConsentError(
                f"this plan was {self.state}",
                remedy="If those who refused it agree now, approve it with --reconsider.",
                code="plan.refused",
            )

    def refuse(self, reason: str) -> None:
        """Write that a person refused it, which ends an approval; what was said first stays."""
        if self.refusal is not None:
            return
        since = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
        mark = msgspec.json.encode(Refusal(since=since, reason=reason))
        write(self.folder / REFUSED, mark, mode=OWNER_ONLY)

    def check_removable(self) -> None:
        """Return only if there are images of this plan, and nobody needs them.

        Raises:
            ConsentError: ``data.approved``: the plan is approved, and not over.
            ConfigError: ``data.none``.
        """
        if self.approved and not self.expired:
            raise ConsentError(
                "the plan is approved on these images",
                remedy="Withdraw the approval first with `wardround-site plan refuse`, or wait for its end.",
                code="data.approved",
            )
        if not self.catalogue.parent.is_dir():
            raise ConfigError(
                "no images were read for this plan",
                remedy="See `wardround-site data list`.",
                code="data.none",
            )

    def remove_data(self) -> None:
        """Delete the catalogue that was read for it, and all that was kept beside it.

        Raises:
            ConsentError, ConfigError: ``check_removable``.
            StorageError: ``files.unwritable``.
        """
        self.check_removable()
        try:
            shutil.rmtree(self.catalogue.parent)
            sync_folder(self.folder)
        except OSError as error:
            raise unwritable(self.catalogue.parent, error) from error


class Shelf:
    """The plans of a site, in ``home``/plans."""

    def __init__(self, home: Path) -> None:
        self._path = home / "plans"
        self._pins = Pins(home)

    def add(self, signed: bytes) -> Shelved:
        """Keep a plan that its lead signed.

        Raises:
            ProtocolError, ConsentError: ``trust.open_plan``; ``trust.other_key``.
        """
        plan = open_plan(signed, today=datetime.date.today())
        self._pins.check_plan(plan)
        folder = self._path / plan_digest(plan).hex()
        private_folder(folder)
        write(folder / "plan", signed, mode=OWNER_ONLY)
        return Shelved(folder, signed, plan)

    def all(self) -> list[Shelved]:
        """Every plan, by digest. Expired ones too: they are listed, and refused when they are used."""
        return [self._open(path.parent) for path in sorted(self._path.glob("*/plan"))]

    def approved(self) -> set[str]:
        """The digests that a person approved, and nobody refused since."""
        marks = {mark: {path.parent for path in self._path.glob(f"*/{mark}")} for mark in (MARK, REFUSED)}
        return {folder.name for folder in marks[MARK] - marks[REFUSED]}

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
