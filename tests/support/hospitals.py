"""Production sites on disk, which can restart, and the coordinator's session, message by message."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from functools import partial

from federations import SEED, KnownTask, catalogue_of, make_plan

from wardround_client.policy import SitePolicy
from wardround_client.site import Site
from wardround_common.aggregate import Aggregation
from wardround_common.messages import Packet, RoundContext, Signer
from wardround_common.state import StudyState, initial_state
from wardround_common.trust import (
    COORDINATOR,
    Member,
    Roster,
    open_roster,
    plan_digest,
    sign_plan,
    sign_roster,
)
from wardround_server.secagg import CoordinatorSession
from wardround_simulations.secrets import Secrets

SECRETS = Secrets(SEED)
TODAY = datetime.date.today()
EXCHANGES = (
    ("start", "hello"), ("cohort", "deal"), ("envelopes", "masked"),
    ("survivors", "confirm"), ("confirms", "open"), ("result", "accept"),
)  # fmt: skip


def signed_roster(names, *, version=5, by="authority", **changes) -> bytes:
    fields = {
        "version": version,
        "issued": TODAY.isoformat(),
        "expires": (TODAY + datetime.timedelta(20)).isoformat(),
        "sites": tuple(Member(name, SECRETS.key(name).public) for name in names),
        "lead": SECRETS.key("lead").public,
        "coordinator": SECRETS.key(COORDINATOR).public,
    }
    return sign_roster(Roster(**(fields | changes)), SECRETS.key(by))


class CountedTask(KnownTask):
    """Counts how often a round was computed."""

    def __init__(self):
        self.rounds = 0

    def train_round(self, plan, **rest):
        self.rounds += 1
        return super().train_round(plan, **rest)


class Hospitals:
    """The sites of a plan, and a coordinator whose rounds a test plays as far as it likes."""

    def __init__(self, home, n=4, *, max_colluders=1, **changes) -> None:
        self.home, self.plan = home, make_plan(n, **changes)
        self.names = tuple(site.name for site in self.plan.sites)
        self.policy = SitePolicy(max_colluders=max_colluders)
        self.sums = Aggregation(self.plan)
        self.state: StudyState = initial_state(self.plan)
        self.signed = signed_roster(self.names)
        self.tasks = {name: CountedTask() for name in self.names}
        self.sites = {name: self._open(name) for name in self.names}
        self.accepts: dict[int, tuple[bytes, ...]] = {}

    def close(self) -> None:
        for site in self.sites.values():
            site.close()

    def restart(self, name: str) -> None:
        self.sites[name].close()
        self.sites[name] = self._open(name)

    def _open(self, name: str) -> Site:
        site = Site(
            self.home / name,
            signer=Signer(name, SECRETS.key(name)),
            key=SECRETS.site_key(name),
            policy=self.policy,
            round_secret=partial(SECRETS.round_secret, name),
            simulation_id=SECRETS.ledger_id(name),
            task=lambda _: self.tasks[name],
        )
        site.approve(sign_plan(self.plan, SECRETS.key("lead")), catalogue_of(name))
        return site

    def session(self, number: int, *, kind="train", attempt=1, state: bytes | None = None):
        roster = open_roster(self.signed, authority_key=bytes.fromhex(self.plan.authority_key), today=TODAY)
        context = RoundContext(plan_digest=plan_digest(self.plan), round=number, kind=kind, attempt=attempt)
        terms = self.sums.terms(context, roster=roster, state=state or self.state.digest)
        last = self.accepts[max(self.accepts)] if self.accepts else ()
        signer = Signer(COORDINATOR, SECRETS.key(COORDINATOR))
        return Play(self, CoordinatorSession(terms, signer=signer, roster=self.signed, accepts=last), terms)


class Play:
    """One attempt; ``until`` plays it up to and including a reply."""

    def __init__(self, hospitals: Hospitals, session: CoordinatorSession, terms) -> None:
        self.hospitals, self.coordinator, self.terms = hospitals, session, terms
        self.requests: dict[str, Packet] = {}
        self.replies: dict[str, Packet] = {}
        self.vectors = {}
        self.done = 0

    def until(self, reply: str, *, without: Collection[str] = (), aborts: Collection[bytes] = ()) -> Play:
        """Play on to ``reply``; the sites in ``without`` get no request any more."""
        last = [name for _, name in EXCHANGES].index(reply)
        for request, answer in EXCHANGES[self.done : last + 1]:
            self.ask(request, aborts=aborts)
            self.replies = {}
            for name, packet in self.requests.items():
                if name not in without:
                    self.replies[name] = self.hospitals.sites[name].handle(packet)
                    self.take(answer, name)
            self.done += 1
        return self

    def ask(self, request: str, *, aborts: Collection[bytes] = ()) -> dict[str, Packet]:
        if request == "start":
            self.requests = dict.fromkeys(self.hospitals.names, self.coordinator.start())
        elif request == "cohort":
            self.requests = self.coordinator.cohort(tuple(aborts))
        else:
            if request == "result":
                self.total = self.coordinator.aggregate()
                self.requests = self.coordinator.result(self.vectors.__getitem__)
            else:
                self.requests = getattr(self.coordinator, request)()
        return self.requests

    def take(self, answer: str, name: str) -> None:
        if answer == "masked":
            self.vectors[name] = self.replies[name].array.copy()
        more = {"next_digest": self.outcome()} if answer == "accept" else {}
        getattr(self.coordinator, f"take_{answer}")(self.replies[name], site=name, **more)

    def outcome(self) -> bytes:
        hospitals, survivors = self.hospitals, self.coordinator.surviving
        if self.terms.context.kind == "evaluate":
            return hospitals.sums.counted(hospitals.state, self.total)
        return hospitals.sums.following(hospitals.state, self.total, survivors).digest

    def close(self) -> None:
        """Move the coordinator's state on."""
        hospitals = self.hospitals
        hospitals.accepts[self.terms.context.round] = self.coordinator.accepts
        if self.terms.context.kind == "train":
            hospitals.state = hospitals.sums.following(
                hospitals.state, self.total, self.coordinator.surviving
            )
