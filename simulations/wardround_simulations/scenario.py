"""A scenario file: the plan of a study, and what only a simulation decides.

``[plan]`` is a ``StudyPlan`` without the fields that the simulation fills in before the digest: the keys of
authority and lead, the expiry, and the noise multipliers, which are calibrated to the stated epsilons.
``[simulation]`` holds the seed and the recipes of the baselines; it is outside the digest.

In a simulation the authority, the lead, the coordinator and every site are played with keys derived from
the seed, through the production code. No deployed program can be configured with a seed.

Privacy: with a known seed all noise can be computed; a simulation says so in its report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from wardround_common.canonical import convert, read_toml
from wardround_common.errors import ConfigError
from wardround_common.plan import StudyPlan
from wardround_common.plan_draft import complete_plan
from wardround_simulations.baselines import LonePrivateRecipe, NonPrivateRecipe
from wardround_simulations.secrets import Secrets

EXPIRES = "2099-12-31"
_FILLED_IN = ("authority_key", "lead_key", "expires")


class SimulationPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a simulation decides outside the plan."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """All keys, secrets and masks of the simulation follow from it."""
    baselines: bool = True
    """Whether to train the models that the federation is compared with."""
    non_private: NonPrivateRecipe = NonPrivateRecipe()
    """Recipe of the baselines without privacy."""
    lone_private: tuple[LonePrivateRecipe, ...] = ()
    """Recipes of a private site on its own, by size; empty: the built-in table."""


class Scenario(Struct, frozen=True, kw_only=True):
    """A checked plan and the simulation that runs it."""

    plan: StudyPlan
    simulation: SimulationPlan

    @property
    def secrets(self) -> Secrets:
        """The simulation's keys and secrets."""
        return Secrets(self.simulation.seed)


def load_scenario(path: Path) -> Scenario:
    """Read, complete and check a scenario file.

    Raises:
        ConfigError: Naming the path of the first field that does not fit.
        PrivacyError: No noise meets an epsilon of the plan.
    """
    tables = read_toml(path)
    if unknown := tables.keys() - {"plan", "simulation"}:
        raise ConfigError(
            f"{path.name}: unknown table [{sorted(unknown)[0]}]",
            remedy="A scenario has the tables [plan] and [simulation].",
            code="config.field",
        )
    if not isinstance(tables.get("plan"), dict):
        raise ConfigError(
            f"{path.name}: expected a table [plan]",
            remedy="Start from simulations/scenarios/chest-xray.toml.",
            code="config.field",
        )
    simulation = convert(tables.get("simulation", {}), SimulationPlan, where="simulation")
    return Scenario(plan=_complete(tables["plan"], Secrets(simulation.seed)), simulation=simulation)


def _complete(tables: dict[str, Any], secrets: Secrets) -> StudyPlan:
    for field in _FILLED_IN:
        if field in tables:
            raise ConfigError(
                f"plan.{field} is filled in by the simulation",
                remedy=f"Leave {field} out of the scenario.",
                code="config.field",
            )
    filled_in = {
        "authority_key": secrets.key("authority").public.hex(),
        "lead_key": secrets.key("lead").public.hex(),
        "expires": EXPIRES,
    }
    return complete_plan(tables | filled_in)
