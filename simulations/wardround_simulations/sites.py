"""A simulated hospital in a worker: the production site with keys and secrets from the simulation's seed.

Privacy: the site's data folder is its own; what leaves the worker is what would leave the hospital.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from wardround_client.app import make_client_app
from wardround_client.catalogue import CATALOGUE_FILE, Catalogue
from wardround_client.policy import SitePolicy
from wardround_client.site import Site
from wardround_client.tasks import load_task
from wardround_client.tasks.interface import Task
from wardround_common.canonical import decode
from wardround_common.messages import Signer
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest
from wardround_simulations.grid import answer
from wardround_simulations.secrets import Secrets
from wardround_simulations.workers import Answer

CATALOGUE = "data"
"""Folder of a site's catalogue inside its data folder."""
SPEC_LIMIT_BYTES = 2 * SIGNED_LIMIT_BYTES


class SiteSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker needs to play one site."""

    name: str
    node: int
    home: str
    seed: int
    signed_plan: bytes
    policy: SitePolicy = SitePolicy()


def make_site(spec: bytes, *, task: Callable[[str], Task] = load_task) -> Answer:
    """Start a site that approves its plan on its catalogue, and answer for it.

    Args:
        spec: An encoded ``SiteSpec``.
        task: Finds a plan's task by name.
    """
    what = decode(spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES)
    site = open_site(what, task=task)
    site.approve(what.signed_plan, catalogue_of(what))
    return partial(answer, make_client_app(site.handle), what.node)


def open_site(spec: SiteSpec, *, task: Callable[[str], Task] = load_task) -> Site:
    """A site with the secrets of the simulation; it has approved nothing."""
    secrets, plan = Secrets(spec.seed), _plan(spec)
    return Site(
        Path(spec.home),
        signer=Signer(spec.name, secrets.key(spec.name)),
        key=secrets.site_key(spec.name),
        policy=spec.policy,
        round_secret=partial(secrets.round_secret, spec.name),
        entropy=secrets.entropy(spec.name, plan),
        simulation_id=secrets.ledger_id(spec.name),
        task=task,
    )


def catalogue_of(spec: SiteSpec) -> Catalogue:
    """What was read at a site for its plan."""
    sealer = Secrets(spec.seed).site_key(spec.name).data(_plan(spec))
    return Catalogue.load(Path(spec.home) / CATALOGUE / CATALOGUE_FILE, sealer)


def _plan(spec: SiteSpec) -> bytes:
    return plan_digest(open_plan(spec.signed_plan, today=datetime.date.today()))
