"""What secure aggregation costs, over the bare cipher and against others.

    python -m benchmarks.secagg [--quick | --large]

CPU time of this process, best of several repeats, all contenders of a comparison taking turns in one run, so
that a ratio holds on a busy machine too; only the row on threads is wall time. ``ns`` means nanoseconds per
parameter. "The bare cipher" is AES-256-CTR over as many bytes as the masks have, in the pieces in which it is
fastest, and nothing done with them.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.results import Result, publish
from benchmarks.rivals import ckks_site, flower_site, plain_coordinator
from wardround_common.clips import following_clips
from wardround_common.identity import SigningKey
from wardround_common.secagg.masks import CipherName, Mask, apply_masks
from wardround_common.secagg.quantiser import Method, Quantiser
from wardround_common.secagg.ring import Ring, vector_digest
from wardround_common.streams import Stream, derive

Update = npt.NDArray[np.float32]
Job = Callable[[], object]

SIZES = {"1M": 1_000_000, "11M": 11_000_000, "100M": 100_000_000}
COHORTS = (3, 5, 10, 30)
HEADLINE = 10
"""Sites for which the ratios are stated."""
METHODS: Mapping[str, Method] = {"u32": "exact", "u32_fast": "fast", "u16": "dithered"}

_KEY = b"benchmark of secure aggregation "
_PIECE = 1 << 18
_ZEROS = memoryview(bytes(_PIECE))


def measure(names: Sequence[str] = ("1M", "11M"), *, cohorts: Sequence[int] = COHORTS) -> list[Result]:
    """All figures for these numbers of parameters; the ratios come from the largest but ``ckks``' (1 M)."""
    results: list[Result] = []
    for name in names:
        size, last = SIZES[name], name == names[-1]
        for n in cohorts:
            results += _site_rows(name, size, n, headline=last and n == HEADLINE)
        results += _coordinator_rows(name, size, headline=last)
        results += _upload_rows(name, size)
    largest = SIZES[names[-1]]
    return [*results, *_precision_rows(SIZES["1M"]), *_memory_rows(largest), *_thread_rows(largest)]


def _site_rows(name: str, size: int, n: int, *, headline: bool) -> list[Result]:
    """One site's quantiser and masks, in a cohort of n."""
    update, masks = _update(size, 0), _masks(n)
    jobs: dict[str, Job] = {"cipher": partial(_cipher, masks, 4 * size)}
    for label, method in METHODS.items():
        jobs[label] = partial(_site, _quantiser(size, n, method), update, masks)
    jobs["u32_chacha20"] = partial(_site, _quantiser(size, n, "exact"), update, masks, cipher="chacha20")
    jobs["copy"] = update.copy
    ns = _best(jobs, per=size)
    slow = _others(size, n, update)
    ns |= _best(slow, per=size, repeats=2 if size < 10**8 else 1)
    rows = [Result(f"secagg.site_ns.{name}.n{n}.{label}", value, "ns") for label, value in ns.items()]
    if "ckks" in ns and n == HEADLINE:
        rows.append(Result("secagg.ckks_over_ours", ns["ckks"] / ns["u32"], "x", f"{name}, over u32"))
    if headline:
        rows += [
            Result("secagg.site_over_cipher", ns["u32_fast"] / ns["cipher"], "x", "fast; target 1.8"),
            Result("secagg.site_exact_over_cipher", ns["u32"] / ns["cipher"], "x", "exact; target 2.0"),
            Result("secagg.u16_over_u32", ns["u16"] / ns["u32"], "x", "over exact; target .7"),
            Result("secagg.u16_over_u32_fast", ns["u16"] / ns["u32_fast"], "x", "over fast"),
            Result("secagg.flower_over_ours", ns["flower"] / ns["u32"], "x", "over exact; target 6"),
        ]
    return rows


def _others(size: int, n: int, update: Update) -> dict[str, Job]:
    """Contenders too slow to repeat often."""
    jobs: dict[str, Job] = {"flower": flower_site(update, n)}
    encrypt = ckks_site(update) if size == SIZES["1M"] and n == HEADLINE else None
    return jobs if encrypt is None else jobs | {"ckks": encrypt}


def _coordinator_rows(name: str, size: int, *, headline: bool) -> list[Result]:
    """Adding the uploads of ten sites and taking off what is left, without and with two drops."""
    rows = []
    for dropped, key in ((0, "coordinator"), (2, "coordinator_drop2")):
        survivors = HEADLINE - dropped
        masks = _masks(survivors + survivors * dropped)
        uploads = [_words(size, i) for i in range(min(survivors, 3))]  # arrays take turns: memory
        turns = [uploads[i % len(uploads)] for i in range(survivors)]
        jobs: dict[str, Job] = {
            "cipher": partial(_cipher, masks, 4 * size),
            "all": partial(_coordinator, turns, masks),
            "add": partial(_coordinator, turns, []),
        }
        ns = _best(jobs, per=size)
        rows += [
            Result(f"secagg.{key}_ns.{name}.cipher", ns["cipher"], "ns", f"{len(masks)} streams"),
            Result(f"secagg.{key}_ns.{name}.all", ns["all"], "ns", f"{survivors} uploads"),
            Result(f"secagg.{key}_ns.{name}.add", ns["add"], "ns", "of which: adding the uploads"),
        ]
        if headline:
            target = f"{name}; target 1.6"
            rows.append(Result(f"secagg.{key}_over_cipher", ns["all"] / ns["cipher"], "x", target))
    plain = _best({"plain": plain_coordinator([_update(size, i) for i in range(3)])}, per=3 * size)["plain"]
    return [*rows, Result(f"secagg.plain_ns.{name}", plain, "ns", "float32 averaging, per upload")]


def _upload_rows(name: str, size: int) -> list[Result]:
    key = SigningKey.from_seed(_KEY)
    jobs: dict[str, Job] = {label: partial(vector_digest, _words(size, 0, bits)) for label, bits in _BITS}
    rows = [
        Result(f"secagg.hash_ns.{name}.{label}", value, "ns", "SHA-256 of the upload")
        for label, value in _best(jobs, per=size).items()
    ]
    sign = _best({"sign": lambda: [key.sign("envelope", bytes(200)) for _ in range(100)]}, per=100)["sign"]
    return [*rows, Result(f"secagg.sign_us.{name}", sign / 1e3, "us", "one signature")]


def _precision_rows(size: int) -> list[Result]:
    """Relative L2 error of the mean of ten updates, against float64 without any clip."""
    updates = [_update(size, i) for i in range(HEADLINE)]
    exact = np.mean([update.astype(np.float64) for update in updates], axis=0)
    sizes = _sizes(size)
    largest = [max(float(np.abs(part).max()) for part in parts) for parts in _by_tensor(updates, sizes)]
    earlier = np.mean([_update(size, i + HEADLINE).astype(np.float64) for i in range(HEADLINE)], axis=0)
    ways = {
        "tight": tuple(int(np.frexp(value)[1]) for value in largest),
        "last": following_clips((4,) * len(sizes), earlier, sizes=sizes, sites=HEADLINE, first=True),
    }
    rows = []
    for way, clips in ways.items():
        for label, method in METHODS.items():
            quantiser = _quantiser(size, HEADLINE, method, clips)
            total = np.zeros(size, dtype=quantiser.word)
            for number, update in enumerate(updates):
                total += quantiser.encode(update, weight=1 / HEADLINE, dither=_dither(number))
            mean = quantiser.decode(total, weight=1.0)
            error = float(np.linalg.norm(mean - exact) / np.linalg.norm(exact))
            rows.append(Result(f"secagg.error_ppm.{label}.{way}", 1e6 * error, "ppm", f"clips: {way}"))
    return rows


def _memory_rows(size: int) -> list[Result]:
    """Peak of what a site allocates beyond its update."""
    update, masks = _update(size, 0), _masks(HEADLINE)
    rows = []
    for label, method in METHODS.items():
        quantiser = _quantiser(size, HEADLINE, method)
        peak = _peak(partial(_site, quantiser, update, masks)) / size
        rows.append(Result(f"secagg.memory_bytes_per_parameter.{label}", peak, "B", "target 5"))
    peak = _peak(partial(_site, _quantiser(size, HEADLINE, "exact"), update, masks, in_place=True)) / size
    return [*rows, Result("secagg.memory_bytes_per_parameter.u32_in_place", peak, "B", "update overwritten")]


def _thread_rows(size: int) -> list[Result]:
    vector, masks = _words(size, 0), _masks(HEADLINE)
    jobs: dict[str, Job] = {
        str(threads): partial(apply_masks, vector, masks, threads=threads) for threads in (1, 2)
    }
    wall = _best(jobs, per=size, clock=time.perf_counter)
    note = "masks alone, wall time; target 1.5 on a quiet machine"
    return [Result("secagg.two_threads_speedup", wall["1"] / wall["2"], "x", note)]


def _site(
    quantiser: Quantiser,
    update: Update,
    masks: Sequence[Mask],
    *,
    cipher: CipherName = "aes-256-ctr",
    in_place: bool = False,
) -> Ring:
    """What a site does to its update: levels, then all masks."""
    out: Ring | None = update.view(np.uint32) if in_place else None
    vector = quantiser.encode(update, weight=1 / quantiser.sites, dither=_dither(0), out=out)
    apply_masks(vector, masks, cipher=cipher)
    return vector


def _coordinator(uploads: Sequence[Ring], masks: Sequence[Mask]) -> Ring:
    total = np.zeros_like(uploads[0])
    for upload in uploads:
        np.add(total, upload, out=total)
    apply_masks(total, masks)
    return total


def _cipher(masks: Sequence[Mask], size_bytes: int) -> None:
    """The key streams of ``masks``, written to one buffer over and over."""
    buffer = memoryview(bytearray(_PIECE))
    for mask in masks:
        stream = Cipher(algorithms.AES(mask.key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, size_bytes, _PIECE):
            length = min(_PIECE, size_bytes - start)
            stream.update_into(_ZEROS[:length], buffer[:length])


_BITS = (("u32", 32), ("u16", 16))


def _masks(count: int) -> list[Mask]:
    return [Mask(key=derive(_KEY, "mask", i), subtract=i % 2 == 1) for i in range(count)]


def _dither(number: int) -> Stream:
    return Stream(derive(_KEY, "dither", number))


def _words(size: int, number: int, bits: int = 32) -> Ring:
    words: Ring = np.empty(size, dtype=np.uint32 if bits == 32 else np.uint16)
    Stream(derive(_KEY, "words", number)).fill(words.view(np.uint8))
    return words


def _sizes(size: int) -> tuple[int, ...]:
    """Tensors as in a residual network: half a dozen widths, each with its small vectors, one large rest."""
    blocks = [part for width in (64, 128, 256) for part in (width * width * 9, width, width)]
    blocks = blocks if sum(blocks) < size else []
    return (*blocks, size - sum(blocks))


def _update(size: int, number: int) -> Update:
    """A common and an individual part, heavy tails, tensors of different spread."""
    common, own = np.random.default_rng(1), np.random.default_rng([2, number])
    spread = np.repeat(
        np.float32(1e-3) * np.geomspace(4, 1, len(_sizes(size)), dtype=np.float32), _sizes(size)
    )
    out = np.zeros(size, dtype=np.float32)
    for source in (common, own):
        tails = np.exp(source.standard_normal(size, dtype=np.float32) / 2)
        out += source.standard_normal(size, dtype=np.float32) * tails
    return out * spread


def _by_tensor(updates: Sequence[Update], sizes: Sequence[int]) -> list[tuple[Update, ...]]:
    ends = np.cumsum(sizes)[:-1]
    return list(zip(*(np.split(update, ends) for update in updates), strict=True))


def _quantiser(size: int, n: int, method: Method, clips: tuple[int, ...] | None = None) -> Quantiser:
    """For n equal sites, with a clip for each tensor."""
    sizes = _sizes(size)
    clips = clips or tuple(-4 - i % 3 for i in range(len(sizes)))
    return Quantiser(sites=n, sizes=sizes, clips=clips, method=method, largest_weight=1 / n)


def _best(
    jobs: Mapping[str, Job],
    *,
    per: int,
    repeats: int = 7,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Nanoseconds of each job over ``per``, the best of several turns."""
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(repeats):
        for name, job in jobs.items():
            start = clock()
            job()
            best[name] = min(best[name], clock() - start)
    return {name: 1e9 * seconds / per for name, seconds in best.items()}


def _peak(job: Job) -> int:
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Measure what the command line asks for, print it and write ``build/bench/secagg.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.secagg", description="Secure aggregation")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="1 M parameters, ten sites")
    group.add_argument("--large", action="store_true", help="100 M parameters too")
    asked = parser.parse_args()
    if asked.quick:
        publish("secagg", measure(("1M",), cohorts=(HEADLINE,)))
    else:
        publish("secagg", measure(("1M", "11M", "100M") if asked.large else ("1M", "11M")))


if __name__ == "__main__":
    main()
