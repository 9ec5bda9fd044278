"""What secure aggregation is compared with: Flower's SecAgg+, CKKS as NVFlare uses it, plain averaging.

Each function does what a site or a coordinator does with one update, and nothing for keys or the network.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

FLOWER_CLIP, FLOWER_LEVELS, FLOWER_RING = 8.0, 1 << 22, 1 << 32
"""Defaults of Flower's SecAggPlusWorkflow."""
CKKS_DEGREE, CKKS_BITS, CKKS_SCALE = 8192, (60, 40, 40), 2.0**40
"""Defaults of NVFlare's HEBuilder."""

Update = npt.NDArray[np.float32]


def flower_site(update: Update, n: int) -> Callable[[], object]:
    """Flower 1.41 ``_collect_masked_vectors`` without its key agreement: weigh, quantise, n masks, mod."""
    seeds = [secrets.token_bytes(32) for _ in range(n)]

    def run() -> object:
        parameters = quantize(parameters_multiply([update], 0.5), FLOWER_CLIP, FLOWER_LEVELS)
        vectors = factor_combine(1, parameters)
        shapes = [vector.shape for vector in vectors]
        for number, seed in enumerate(seeds):
            combine = parameters_subtraction if number % 2 else parameters_addition
            vectors = combine(vectors, pseudo_rand_gen(seed, FLOWER_RING, shapes))
        return parameters_mod(vectors, FLOWER_RING)

    return run


def ckks_site(update: Update) -> Callable[[], object] | None:
    """Encrypt and serialise with TenSEAL; None where it is not installed."""
    try:
        import tenseal
    except ImportError:
        return None
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=CKKS_DEGREE, coeff_mod_bit_sizes=list(CKKS_BITS)
    )
    context.global_scale = CKKS_SCALE
    slots = CKKS_DEGREE // 2

    def run() -> object:
        pieces = (update[start : start + slots] for start in range(0, update.size, slots))
        return [tenseal.ckks_vector(context, piece).serialize() for piece in pieces]

    return run


def plain_coordinator(updates: Sequence[Update]) -> Callable[[], object]:
    """Federated averaging in float32: multiply and add each update as it arrives."""
    total, product = np.zeros_like(updates[0]), np.empty_like(updates[0])
    weight = np.float32(1 / len(updates))

    def run() -> object:
        for update in updates:
            np.multiply(update, weight, out=product)
            np.add(total, product, out=total)
        return total

    return run
