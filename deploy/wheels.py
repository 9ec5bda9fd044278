"""Three wheels from the one pyproject: site, coordinator, simulation. ``make wheel`` builds them.

A builder for hatchling's ``custom`` target. Each table ``[tool.hatch.build.targets.custom.wheels.NAME]``
becomes the wheel ``wardround-NAME``: hatchling's own wheel builder runs on the pyproject with that wheel's
name, packages, scripts and dependencies in place of all of them.

Rules:

* A wheel depends on the project's dependencies and on those of its extras, and has no extras itself.
* A script or an extra that the project does not have is an error, not an empty wheel.

Not here: the wheel of a checkout (``pip install -e .``), which is hatchling's own and holds everything.

References: hatch.pypa.io, "Custom builder"; "Builder versions".
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.plugin.interface import BuilderInterface
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

Table = dict[str, Any]


class Wheels(BuilderInterface):
    """One version of the ``custom`` target for each wheel."""

    def get_version_api(self) -> dict[str, Callable[..., str]]:
        """What hatchling calls to build each wheel."""
        return {name: partial(self._build, name) for name in self.target_config["wheels"]}

    def get_default_versions(self) -> list[str]:
        """All of them."""
        return list(self.target_config["wheels"])

    @classmethod
    def get_config_class(cls) -> type[BuilderConfig]:
        """No options beyond hatchling's."""
        return BuilderConfig

    def _build(self, name: str, directory: str, **_data: Any) -> str:  # noqa: ANN401 - hatchling's interface
        config = wheel_config(self.metadata.config, name)
        (path,) = WheelBuilder(self.root, self.plugin_manager, config).build(directory=directory)
        return path


def get_builder() -> type[Wheels]:
    """What hatchling asks this file for."""
    return Wheels


def wheel_config(config: Table, name: str) -> Table:
    """The pyproject as it would be if there were nothing but the wheel ``name``."""
    config = copy.deepcopy(config)
    project, targets = config["project"], config["tool"]["hatch"]["build"]["targets"]
    wheel = targets["custom"]["wheels"][name]
    project["dependencies"] = sorted({*project["dependencies"], *_of_extras(project, wheel["extras"])})
    project["scripts"] = {script: project["scripts"][script] for script in wheel["scripts"]}
    project["description"] = wheel["description"]
    project["name"] = f"{project['name']}-{name}"
    del project["optional-dependencies"]
    packages = [path for path in targets["wheel"]["packages"] if path.split("/")[0] in wheel["sources"]]
    names = {path.split("/")[1] for path in packages}
    forced = targets["wheel"].get("force-include", {})
    targets["wheel"] = {
        "packages": packages,
        "force-include": {source: to for source, to in forced.items() if to.split("/")[0] in names},
    }
    return config


def _of_extras(project: Table, extras: list[str]) -> Iterator[str]:
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                yield from _of_extras(project, sorted(requirement.extras))
            else:
                yield text
