"""A federation on this machine, from folders of scans to the outcome of a study.

In the order of the data: consent on the plan alone, ingest, reservation in the ledgers, rounds. Authority,
lead, coordinator and sites are played with keys from the seed, through the production code of each.

Not here: what the outcome is compared with (``comparison``), how it is reported (``results``).

Rules:

* A plan that a site refuses, or that would overdraw a ledger, is refused before any scan is opened.

Privacy: this process sees all sites' data, as a simulation must; what it passes between the sites is what a
network would carry.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wardround_client.catalogue import Catalogue
from wardround_client.ledger import Ledger, SideEpsilon, StudyCost
from wardround_client.policy import SitePolicy
from wardround_client.sealing import Sealer
from wardround_client.site import check_consent, confirm_noise, open_ledger
from wardround_common.audit import AuditLog
from wardround_common.canonical import encode
from wardround_common.errors import IngestError, WardroundError
from wardround_common.messages import Signer
from wardround_common.plan import StudyPlan
from wardround_common.trust import (
    COORDINATOR,
    Member,
    Roster,
    plan_digest,
    sign_plan,
    sign_roster,
)
from wardround_server.app import make_server_app
from wardround_server.journal import Journal
from wardround_server.observer import Observer
from wardround_server.study import CoordinatorStudy, StudyOutcome, StudySetup
from wardround_simulations.clock import VirtualClock
from wardround_simulations.grid import FIRST_NODE, LocalGrid, Wire, run_server_app, unchanged
from wardround_simulations.live import Screen
from wardround_simulations.scenario import Scenario
from wardround_simulations.sites import CATALOGUE, SiteSpec, make_site
from wardround_simulations.workers import Factory, InlineWorkers, ProcessWorkers, Workers

if TYPE_CHECKING:
    from wardround_client.ingest import Rejected

ROSTER_DAYS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Federation:
    """A scenario, and where its parts lie.

    Attributes:
        scenario: The plan and the seed.
        out: The run's folder.
        policy: The limits of every site.
        workers: Processes; 0 plays everything in this one.
    """

    scenario: Scenario
    out: Path
    policy: SitePolicy = field(default_factory=SitePolicy)
    workers: int = 2

    @property
    def plan(self) -> StudyPlan:
        """The study's plan."""
        return self.scenario.plan

    @property
    def names(self) -> tuple[str, ...]:
        """The plan's sites."""
        return tuple(site.name for site in self.plan.sites)

    def home(self, site: str) -> Path:
        """The data folder of a site."""
        return self.out / "sites" / site

    def sealer(self, site: str) -> Sealer:
        """Seals what a site reads for the plan."""
        return self.scenario.secrets.site_key(site).data(plan_digest(self.plan))


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteData:
    """What a site's folder gave."""

    catalogue: Catalogue
    rejects: tuple[Rejected, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteCost:
    """What the study cost a site's patients, from its own ledger."""

    spent: SideEpsilon
    studies: tuple[StudyCost, ...]
    lifetime_epsilon: float
    lifetime_delta: float


def consent(federation: Federation) -> None:
    """Every site looks at the plan alone, and its ledger at what it has spent before.

    Raises:
        ConsentError, PrivacyError: A site refuses; the message names it.
    """
    confirm_noise(federation.plan)
    for site in federation.names:
        with _named(site):
            check_consent(federation.plan, name=site, policy=federation.policy)
            ledger = _ledger(federation, site)
            try:
                ledger.check(federation.plan, plan_digest(federation.plan))
            finally:
                ledger.shut()


def read_sites(federation: Federation, folder: Path, screen: Screen) -> dict[str, SiteData]:
    """Ingest ``folder/SITE`` for every site of the plan; other folders are ignored.

    Raises:
        IngestError: A site's folder is missing or cannot be used.
    """
    missing = [site for site in federation.names if not (folder / site).is_dir()]
    if missing:
        raise IngestError(
            f"{folder} has no folder named '{missing[0]}', which the plan names as a site",
            remedy="Give --sites a folder that holds one folder per site of the plan, each with labels.csv.",
            code="ingest.no_site_folder",
        )
    return {site: _read_site(federation, folder / site, site, screen) for site in federation.names}


def _read_site(federation: Federation, folder: Path, site: str, screen: Screen) -> SiteData:
    from wardround_client.ingest import ingest  # 50 MB of image libraries, for runs that read images

    plan, store = federation.plan, federation.home(site) / CATALOGUE
    with screen.stage(f"reading {site}") as progress, _named(site):
        done = ingest(
            folder,
            store=store,
            sealer=federation.sealer(site),
            input_plan=plan.input,
            labels=plan.labels,
            site_secret=federation.scenario.secrets.site_secret(site),
            progress=progress,
            workers=max(1, federation.workers),
        )
    return SiteData(catalogue=done.catalogue, rejects=done.rejects)


def run_study(
    federation: Federation, observer: Observer, *, wire: Wire = unchanged, factory: Factory = make_site
) -> StudyOutcome:
    """Run the study on catalogues that ``read_sites`` wrote.

    The coordinator's journal is kept in memory, and its clock is virtual: a site that is not there is waited
    for without taking time. Its audit log lies in ``OUT/coordinator``.

    Args:
        federation: The federation.
        observer: Is told what happens.
        wire: Between coordinator and sites.
        factory: Plays a site in a worker.
    """
    with closing(open_audit(federation)) as audit:
        study = make_study(federation, observer, audit=audit)
        with closing(make_workers(federation, factory)) as workers:
            run_server_app(make_server_app(study.run, poll_s=0.0), LocalGrid(workers, wire=wire))
    return study.outcome


def open_audit(federation: Federation) -> AuditLog:
    """The audit log of the federation's coordinator."""
    folder = federation.out / "coordinator"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = Signer(COORDINATOR, federation.scenario.secrets.key(COORDINATOR))
    return AuditLog(folder / "audit.sqlite", signer=signer, head_path=folder / "audit.head")


def make_study(
    federation: Federation,
    observer: Observer,
    *,
    journal: Journal | None = None,
    audit: AuditLog | None = None,
    roster: Callable[[], bytes] | None = None,
) -> CoordinatorStudy:
    """The coordinator of the federation's study.

    Args:
        federation: The federation.
        observer: Is told what happens.
        journal: Where the coordinator goes on; None: from the beginning.
        audit: The coordinator's audit log; None keeps none.
        roster: The newest roster, as the authority signed it; None: one that does not change.
    """
    secrets, plan = federation.scenario.secrets, federation.plan
    signed = _roster(federation)
    signer = Signer(COORDINATOR, secrets.key(COORDINATOR))
    setup = StudySetup(plan=plan, signer=signer, roster=roster or (lambda: signed))
    return CoordinatorStudy(setup, observer, journal=journal, clock=VirtualClock(), audit=audit)


def settle(federation: Federation) -> Mapping[str, SiteCost]:
    """End the study at every site, and read from its ledger what it cost."""
    found = {}
    for site in federation.names:
        ledger = _ledger(federation, site)
        ledger.close(federation.plan.study)
        lifetime = ledger.lifetime()
        found[site] = SiteCost(
            spent=ledger.epsilon_spent(federation.plan.study),
            studies=ledger.costs(),
            lifetime_epsilon=lifetime.epsilon,
            lifetime_delta=lifetime.delta,
        )
        ledger.shut()
    return found


def make_workers(federation: Federation, factory: Factory) -> Workers:
    """The hosts of the federation's sites, the plan approved at each."""
    signed = sign_plan(federation.plan, federation.scenario.secrets.key("lead"))
    specs = [
        encode(
            SiteSpec(
                name=site.name,
                node=FIRST_NODE + i,
                home=str(federation.home(site.name)),
                seed=federation.scenario.simulation.seed,
                signed_plan=signed,
                policy=federation.policy,
            )
        )
        for i, site in enumerate(federation.plan.sites)
    ]
    if federation.workers == 0:
        return InlineWorkers(factory, specs)
    loads = [site.patients for site in federation.plan.sites]
    path = f"{factory.__module__}:{factory.__name__}"
    return ProcessWorkers(path, specs, loads=loads, processes=federation.workers)


def _roster(federation: Federation) -> bytes:
    """The roster, issued today by the authority that the seed stands for."""
    secrets = federation.scenario.secrets
    today = datetime.date.today()
    roster = Roster(
        version=int(time.time()),
        issued=today.isoformat(),
        expires=(today + datetime.timedelta(ROSTER_DAYS)).isoformat(),
        sites=tuple(Member(name, secrets.key(name).public) for name in federation.names),
        lead=secrets.key("lead").public,
        coordinator=secrets.key(COORDINATOR).public,
    )
    return sign_roster(roster, secrets.key("authority"))


def _ledger(federation: Federation, site: str) -> Ledger:
    identifier = federation.scenario.secrets.ledger_id(site)
    return open_ledger(federation.home(site), policy=federation.policy, simulation_id=identifier)


@contextmanager
def _named(site: str) -> Iterator[None]:
    """Say whose error it is."""
    try:
        yield
    except WardroundError as error:
        raise type(error)(
            f"site {site}: {error.message}", remedy=error.remedy, code=error.code, retryable=error.retryable
        ) from error
