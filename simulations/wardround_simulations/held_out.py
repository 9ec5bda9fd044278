"""The held-out patients of all hospitals together, which only a simulation can see.

One image of each patient, chosen by the patient's key: the same image that the site itself would count.

Privacy: images and labels of patients; they stay in this process. What is computed from them is exact and
labelled "simulation only, not private".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_client.catalogue import Catalogue, evaluation_rows


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """One image and label per patient.

    Attributes:
        images_NCHW: float32, values 0 to 1.
        label_N: Class indices.
        site_N: Index of each patient's site in ``sites``.
        sites: Names.
    """

    images_NCHW: npt.NDArray[np.float32]
    label_N: npt.NDArray[np.int64]
    site_N: npt.NDArray[np.int64]
    sites: tuple[str, ...]

    def rows_of(self, site: str) -> npt.NDArray[np.int64]:
        """Indices of the patients of one site."""
        return np.flatnonzero(self.site_N == self.sites.index(site))


def held_out(catalogues: Mapping[str, Catalogue], side: str) -> HeldOut:
    """The patients of ``side`` (validation or test) of all sites, in the order of ``catalogues``."""
    return _gather({site: catalogue.of_side(side) for site, catalogue in catalogues.items()})


def everybody(catalogue: Catalogue, name: str) -> HeldOut:
    """All patients of a public test set."""
    return _gather({name: catalogue})


def _gather(views: Mapping[str, Catalogue]) -> HeldOut:
    rows: Sequence[npt.NDArray[np.int64]] = [evaluation_rows(view) for view in views.values()]
    pairs = list(zip(views.values(), rows, strict=True))
    return HeldOut(
        images_NCHW=np.concatenate([view.images_NCHW[chosen] for view, chosen in pairs]),
        label_N=np.concatenate([view.label_N[chosen] for view, chosen in pairs]),
        site_N=np.concatenate([np.full(len(chosen), i, np.int64) for i, chosen in enumerate(rows)]),
        sites=tuple(views),
    )
