"""Public test vectors: made by the production code, and reproduced by a second implementation.

The vectors in ``vectors/`` are for whoever writes the protocol anew. Every file is compared with what the
production code makes now. ``WARDROUND_WRITE_VECTORS=1 pytest tests/secagg/test_vectors.py`` writes them
again, which is a change of the protocol.

``second_implementation`` was written from ``SPEC.md`` alone and makes the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
from second_implementation import (
    H,
    SecondSite,
    agree,
    clips_after,
    combine,
    digest_of,
    dithers,
    envelope,
    first_transcript,
    hkdf,
    level,
    masked_by,
    pack,
    public,
    real,
    seal,
    split,
    unhex,
    unmasked,
)

from wardround_common import canonical
from wardround_common.clips import following_clips
from wardround_common.identity import SigningKey
from wardround_common.messages import (
    NO_TRANSCRIPT,
    Abandon,
    Abort,
    Accept,
    Cohort,
    Confirm,
    Confirms,
    Deal,
    DealParcel,
    Envelopes,
    Hello,
    Masked,
    Open,
    Result,
    RoundContext,
    Signer,
    Start,
    Survivors,
    Wire,
)
from wardround_common.secagg import shamir, transcript
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import Channel, HeldShares
from wardround_common.secagg.commitments import ciphertext_digest, commit_seed, commit_share
from wardround_common.secagg.graph import neighbours
from wardround_common.secagg.masks import apply_masks, pair_mask, self_mask
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.secagg.ring import decode_counts, encode_counts, vector_digest
from wardround_common.streams import Stream, derive
from wardround_common.trust import COORDINATOR

FOLDER = Path(__file__).parent / "vectors"
WRITE = os.environ.get("WARDROUND_WRITE_VECTORS") == "1"
CONTEXT = RoundContext(plan_digest=b"p" * 32, round=7, kind="train", attempt=2)
CIPHERS = ("aes-256-ctr", "chacha20")
NAMES = ("a", "b", "c", "d")
STEPS = (
    "start", "hello", "cohort", "deal", "envelopes", "masked",
    "survivors", "confirm", "confirms", "open", "result", "accept",
)  # fmt: skip


def fixed(name: str, n: int) -> bytes:
    """Bytes that everybody can make: SHA-256 of the name and a counter."""
    return b"".join(hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(-(-n // 32)))[:n]


class FixedEntropy:
    """``fixed`` bytes, read forward."""

    def __init__(self, name: str) -> None:
        self._name, self._place = name, 0

    def __call__(self, n: int) -> bytes:
        start, self._place = self._place, self._place + n
        return fixed(self._name, self._place)[start:]


# made by the production code

BODIES = {
    "start": Start(b"roster", b"s" * 32, (b"accept",), ((b"1", b"2"), ()), b"hello"),
    "hello": Hello(b"c" * 32, b"m" * 32, b"s" * 32, b"l" * 32),
    "cohort": Cohort((b"hello a", b"hello b"), (b"abort",)),
    "deal": Deal(b"e" * 32, (b"k" * 32,) * 2, (b"d" * 32,) * 2, (b"x" * 32,)),
    "envelopes": Envelopes((b"deal a", b"deal b"), (b"y" * 82,)),
    "masked": Masked(2**40, b"v" * 32),
    "survivors": Survivors((b"masked a", b"masked b")),
    "confirm": Confirm(),
    "confirms": Confirms((b"confirm a",)),
    "open": Open((b"\x00" * 33,), (b"\x01" * 33, b"\x02" * 33)),
    "result": Result(300, b"r" * 32, (b"open a",)),
    "accept": Accept(("a", "site-9"), b"s" * 32, b"n" * 32),
    "abandon": Abandon(),
    "abort": Abort(),
}


def messages():
    wire = Wire(CONTEXT, roster=None, sites=frozenset(NAMES))
    found = {}
    for number, (name, body) in enumerate(BODIES.items()):
        signer = Signer("a" if number % 2 else COORDINATOR, SigningKey.from_seed(fixed("identity", 32)))
        covered = NO_TRANSCRIPT if name in ("abandon", "abort") else b"t" * 32
        found[name] = {
            "fields": readable(list(msgspec.structs.astuple(body))),
            "body": canonical.encode(body).hex(),
            "sender": signer.name,
            "transcript": covered.hex(),
            "envelope": wire.seal(body, transcript=covered, signer=signer).hex(),
        }
    parcel = DealParcel(b"deal a", (b"y" * 82,))
    found["parcel"] = {
        "fields": readable(list(msgspec.structs.astuple(parcel))),
        "body": canonical.encode(parcel).hex(),
    }
    return {"identity_seed": fixed("identity", 32).hex(), "context": context_of(CONTEXT), "messages": found}


def readable(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [readable(item) for item in value] if isinstance(value, list | tuple) else value


def context_of(context):
    return {**msgspec.structs.asdict(context), "plan_digest": context.plan_digest.hex()}


LABELS = (("x",), ("x", 1), ("x", "1"), (b"x", -1), ("ab", "c"), ("a", "bc"), ("y", b"", "\u00e4"))


def keys():
    secret = fixed("secret", 32)
    return {
        "derive": [
            {"secret": secret.hex(), "labels": [readable(label) for label in labels],
             "key": derive(secret, *labels).hex()}
            for labels in LABELS
        ],
        "digest": [
            {"label": "x", "parts": [part.hex() for part in parts],
             "digest": canonical.digest("x", *parts).hex()}
            for parts in ((), (b"",), (b"ab", b"c"), (b"a", b"bc"))
        ],
    }  # fmt: skip


def masks():
    secret = fixed("secret", 32)
    found = []
    for name, mask in (
        ("pair, first", pair_mask(secret, CONTEXT, site="a", peer="b")),
        ("pair, second", pair_mask(secret, CONTEXT, site="b", peer="a")),
        ("self", self_mask(secret, CONTEXT, site="a")),
    ):
        for cipher in CIPHERS:
            for word in (np.uint16, np.uint32):
                vector = np.arange(70_000, dtype=word)
                apply_masks(vector, [mask], cipher=cipher, threads=2)
                found.append(
                    {
                        "mask": name, "key": mask.key.hex(), "subtract": mask.subtract, "cipher": cipher,
                        "bits": 8 * vector.dtype.itemsize, "first": vector[:8].tolist(),
                        "last": vector[-8:].tolist(), "digest": vector_digest(vector).hex(),
                    }
                )  # fmt: skip
    return {
        "secret": secret.hex(), "context": context_of(CONTEXT), "numbers": "0 to 69999 before masking",
        "masks": found,
    }  # fmt: skip


def shares():
    secret = fixed("secret", 32)
    found = []
    for t, n in ((2, 3), (3, 4), (7, 10)):
        made = shamir.split(secret, threshold=t, count=n, entropy=FixedEntropy(f"shamir {t} {n}"))
        found.append(
            {
                "t": t, "n": n, "entropy": fixed(f"shamir {t} {n}", 48 * (t - 1)).hex(),
                "shares": [share.hex() for share in made],
            }
        )  # fmt: skip
    return {"secret": secret.hex(), "splits": found}


def commitments():
    t1, share, seed = b"1" * 32, b"\x00" + fixed("share", 32), fixed("seed", 32)
    channel_a, channel_b = AgreementKey(fixed("channel a", 32)), AgreementKey(fixed("channel b", 32))
    agreed = channel_a.agree(channel_b.public, peer="b")
    channel = Channel(secret=agreed, transcript=t1, sender="a", recipient="b")
    ciphertext = channel.seal(HeldShares(mask_key=share, seed=share))
    return {
        "transcript": t1.hex(), "share": share.hex(), "seed": seed.hex(), "dealer": "a", "holder": "b",
        "mask key": commit_share(t1, of="mask key", dealer="a", holder="b", share=share).hex(),
        "seed share": commit_share(t1, of="seed", dealer="a", holder="b", share=share).hex(),
        "seed commitment": commit_seed(t1, dealer="a", seed=seed).hex(),
        "channel": {
            "private": fixed("channel a", 32).hex(), "public": channel_a.public.hex(),
            "peer": channel_b.public.hex(), "agreed": agreed.hex(), "ciphertext": ciphertext.hex(),
            "digest": ciphertext_digest(ciphertext).hex(),
        },
        "vectors": [
            {"bits": 8 * np.dtype(word).itemsize, "words": words,
             "digest": vector_digest(np.array(words, dtype=word)).hex()}
            for word in (np.uint16, np.uint32) for words in ([], [1, 2, 65535])
        ],
    }  # fmt: skip


SIZES, CLIPS, WEIGHTS = (5, 3, 4), (1, 1, -2), (0.25, 0.125)


def update_of(site):
    numbers = struct.unpack("<12h", fixed(f"update {site}", 24))
    return [float(np.float32(number / 8192)) for number in numbers]


def quantised():
    found = []
    for method in ("exact", "fast", "dithered"):
        quantiser = Quantiser(sites=4, sizes=SIZES, clips=CLIPS, method=method, largest_weight=0.25)
        levels = []
        for site, weight in enumerate(WEIGHTS):
            dither = Stream(fixed(f"dither {site}", 32)) if method == "dithered" else None
            update = np.array(update_of(site), dtype=np.float32)
            levels.append(quantiser.encode(update, weight=weight, dither=dither))
        total = levels[0] + levels[1]
        found.append(
            {
                "method": method, "Q": quantiser.levels, "levels": [vector.tolist() for vector in levels],
                "sum": total.tolist(), "mean": quantiser.decode(total, weight=sum(WEIGHTS)).tolist(),
                "bound": quantiser.sum_bound(survivors=2, weight=sum(WEIGHTS)),
            }
        )  # fmt: skip
    counts = np.array([0, 1, -1, 536870911, -536870911], dtype=np.int64)
    words = encode_counts(counts, sites=4)
    return {
        "n": 4, "sizes": SIZES, "clips": CLIPS, "weights": WEIGHTS, "largest_weight": 0.25,
        "updates": [update_of(site) for site in range(2)],
        "dither_keys": [fixed(f"dither {site}", 32).hex() for site in range(2)],
        "methods": found,
        "counts": {"counts": counts.tolist(), "words": words.tolist(), "back": decode_counts(words).tolist()},
    }  # fmt: skip


def clips():
    found = []
    for name, scale, first, last in (
        ("a", 1, True, (4, 4, 4)),
        ("b", 64, False, (4, 0, -3)),
        ("c", 0, False, CLIPS),
    ):
        mean = [number * scale / 2**15 for number in struct.unpack("<12h", fixed(f"mean {name}", 24))]
        mean[5:8] = [0.0] * 3 if name == "a" else mean[5:8]
        made = following_clips(last, np.array(mean, dtype=np.float64), sizes=SIZES, sites=5, first=first)
        found.append({"mean": mean, "first": first, "last": last, "clips": made})
    return {"n": 5, "sizes": SIZES, "aggregates": found}


def graphs():
    return [
        {"n": n, "degree": degree, "neighbours": neighbours([f"{i:02}" for i in range(n)], degree)}
        for n, degree in ((3, 4), (12, 4), (13, 4), (14, 6), (15, 14))
    ]


def whole_round(world):
    w = world(4, size=40)
    w.entropy = {name: FixedEntropy(f"entropy {name}") for name in NAMES}
    w.sessions = {name: w.session(name) for name in NAMES}
    w.vectors = {name: np.array(plain_of(name), dtype=np.uint32) for name in NAMES}
    w.play("accept", silent={"d": "masked"})
    c = w.coordinator
    return {
        "sites": NAMES, "dropped": ["d"], "size": 40, "context": context_of(w.terms.context), "bits": 32,
        "cipher": "aes-256-ctr", "degree": 12, "state": w.terms.state.hex(), "next": (b"n" * 32).hex(),
        "ledger_head": (b"l" * 32).hex(), "signed_roster": w.signed_roster.hex(),
        "roster_digest": w.roster.digest.hex(),
        "identity_seeds": {name: derive(b"k" * 32, name).hex() for name in (*NAMES, COORDINATOR)},
        "entropy": {name: fixed(f"entropy {name}", 288).hex() for name in NAMES},
        "vectors": {name: plain_of(name) for name in NAMES},
        "T0": w.terms.t0.hex(), "T1": c._t1.hex(), "T2": c._t2.hex(), "T3": c._t3.hex(),
        "packets": {
            step: {
                name: {
                    "envelope": hashlib.sha256(packet.envelope).hexdigest(),
                    "array": "" if packet.array is None else vector_digest(packet.array).hex(),
                }
                for name, packet in w.packets[step].items()
            }
            for step in STEPS
        },
        "sum": c.aggregate().tolist(),
    }  # fmt: skip


def plain_of(name):
    return list(struct.unpack("<40I", fixed(f"vector {name}", 160)))


def transcripts():
    opened = {name: type("Opened", (), {"data": f"message of {name}".encode()})() for name in reversed(NAMES)}
    t0 = transcript.t0(CONTEXT, roster=b"r" * 32, state=b"s" * 32)
    t1 = transcript.t1(t0, opened)
    t2 = transcript.t2(t1, opened)
    return {
        "context": context_of(CONTEXT), "roster": (b"r" * 32).hex(), "state": (b"s" * 32).hex(),
        "messages": [opened[name].data.hex() for name in NAMES],
        "T0": t0.hex(), "T1": t1.hex(), "T2": t2.hex(), "T3": transcript.t3(t2, opened).hex(),
    }  # fmt: skip


FILES = {
    "messages": messages, "keys": keys, "transcripts": transcripts, "masks": masks, "shares": shares,
    "commitments": commitments, "quantiser": quantised, "clips": clips, "graph": graphs, "round": whole_round,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_production_code_still_makes_the_vectors(name, world):
    made = FILES[name](world) if name == "round" else FILES[name]()
    made = json.loads(json.dumps(made))
    path = FOLDER / f"{name}.json"
    if WRITE:
        path.write_text(json.dumps(made, indent=1) + "\n")
    assert made == json.loads(path.read_text())


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


# what the second implementation makes of them


def test_the_second_implementation_encodes_and_signs_alike():
    file = load("messages")
    for name, entry in file["messages"].items():
        body = real(entry["fields"])
        assert pack(body).hex() == entry["body"], name
        if name != "parcel":
            made = envelope(
                file["context"], name, entry["sender"], unhex(entry["transcript"]), body,
                unhex(file["identity_seed"]),
            )  # fmt: skip
            assert made.hex() == entry["envelope"], name


def test_the_second_implementation_derives_the_same_keys_digests_and_transcripts():
    file = load("keys")
    for entry in file["derive"]:
        assert hkdf(unhex(entry["secret"]), *(real(label) for label in entry["labels"])).hex() == entry["key"]
    for entry in file["digest"]:
        assert H(entry["label"], *map(unhex, entry["parts"])).hex() == entry["digest"]
    file = load("transcripts")
    last = first_transcript(file["context"], unhex(file["roster"]), unhex(file["state"]))
    assert last.hex() == file["T0"]
    for name in ("T1", "T2", "T3"):
        last = H(f"secagg {name}", last, *map(unhex, file["messages"]))
        assert last.hex() == file[name]


def test_the_second_implementation_masks_alike():
    file = load("masks")
    context, secret = file["context"], unhex(file["secret"])
    about = (unhex(context["plan_digest"]), context["round"], context["kind"], context["attempt"], "vector")
    for entry in file["masks"]:
        pair = entry["mask"] != "self"
        key = hkdf(secret, f"secagg {'pair' if pair else 'self'} mask", *about, "a", *("b" if pair else ""))
        assert key.hex() == entry["key"]
        sign = -1 if entry["mask"] == "pair, second" else 1
        plain = [i % 2 ** entry["bits"] for i in range(70_000)]
        found = masked_by(plain, key, sign, cipher=entry["cipher"], bits=entry["bits"])
        assert (found[:8], found[-8:]) == (entry["first"], entry["last"])
        assert digest_of(found, entry["bits"]).hex() == entry["digest"]


def test_the_second_implementation_shares_and_combines_alike():
    file = load("shares")
    for entry in file["splits"]:
        t, n = entry["t"], entry["n"]
        made = split(unhex(file["secret"]), t, n, unhex(entry["entropy"]))
        assert [share.hex() for share in made] == entry["shares"]
        for chosen in combinations(range(n), t):
            assert combine({i + 1: made[i] for i in chosen}).hex() == file["secret"]


def test_the_second_implementation_commits_and_seals_alike():
    file = load("commitments")
    t1, share = unhex(file["transcript"]), unhex(file["share"])
    for what, name in (("mask key", "mask key"), ("seed", "seed share")):
        assert H("secagg share", t1, what.encode(), b"a", b"b", share).hex() == file[name]
    assert H("secagg seed", t1, b"a", unhex(file["seed"])).hex() == file["seed commitment"]
    channel = file["channel"]
    private = unhex(channel["private"])
    assert public(private).hex() == channel["public"]
    agreed = agree(private, unhex(channel["peer"]))
    assert agreed.hex() == channel["agreed"]
    ciphertext = seal(agreed, "a", "b", t1, share + share)
    assert ciphertext.hex() == channel["ciphertext"]
    assert H("secagg ciphertext", ciphertext).hex() == channel["digest"]
    for entry in file["vectors"]:
        assert digest_of(entry["words"], entry["bits"]).hex() == entry["digest"]


def test_the_second_implementation_quantises_alike():
    file = load("quantiser")
    n, sizes, weights = file["n"], file["sizes"], file["weights"]
    clips = [k for k, size in zip(file["clips"], sizes, strict=True) for _ in range(size)]
    for entry in file["methods"]:
        method, bits = entry["method"], 16 if entry["method"] == "dithered" else 32
        q = {
            "exact": 2**31 - n, "fast": min(int(2**22 / file["largest_weight"]), 2**30),
            "dithered": 2**15 - 2 * n,
        }[method]  # fmt: skip
        assert q == entry["Q"]
        levels = []
        for site, weight in enumerate(weights):
            random = dithers(unhex(file["dither_keys"][site]), (8, 4))  # the first two tensors have one clip
            numbers = zip(file["updates"][site], clips, random, strict=True)
            levels.append([level(method, x, weight, q, k, r) for x, k, r in numbers])
        assert levels == entry["levels"]
        total = [(a + b) % 2**bits for a, b in zip(*levels, strict=True)]
        assert total == entry["sum"]
        signed = [x - 2**bits if x >= 2 ** (bits - 1) else x for x in total]
        mean = [x / (q / 2.0**k * sum(weights)) for x, k in zip(signed, clips, strict=True)]
        assert mean == entry["mean"]
        a, r = {"exact": (0.5, 2**-51), "fast": (0.5, 2**-22), "dithered": (1, 2**-22)}[method]
        bound = int(q * sum(weights) * (1 + r) + 2 * (a + 2**-8)) + 1
        assert min(bound, 2 ** (bits - 1) - 1) == entry["bound"]
    counts = file["counts"]
    assert [x % 2**32 for x in counts["counts"]] == counts["words"]
    assert counts["back"] == counts["counts"]
    assert max(counts["counts"]) == (2**31 - 1) // n


def test_the_second_implementation_sets_the_same_clips():
    file = load("clips")
    for entry in file["aggregates"]:
        rest, parts = entry["mean"], []
        for size in file["sizes"]:
            parts, rest = [*parts, rest[:size]], rest[size:]
        found = clips_after(parts, entry["last"], n=file["n"], first=entry["first"])
        assert found == entry["clips"]


def test_the_second_implementation_draws_the_same_graph():
    for entry in load("graph"):
        n, degree = entry["n"], entry["degree"]
        names = [f"{i:02}" for i in range(n)]
        for i, name in enumerate(names):
            near = [j for j in range(n) if j != i and min((i - j) % n, (j - i) % n) <= degree // 2]
            if n <= 12 or degree >= n - 1:
                near = [j for j in range(n) if j != i]
            assert entry["neighbours"][name] == [names[j] for j in near]


def test_the_second_implementation_plays_the_whole_round_byte_for_byte():
    file = load("round")
    sites = {name: SecondSite(file, name) for name in NAMES}
    t, survivors, coordinator = 3, NAMES[:3], unhex(file["identity_seeds"][COORDINATOR])

    def ask(kind, covered, body):
        return envelope(file["context"], kind, COORDINATOR, covered, body, coordinator)

    def check(step, found, arrays=None):
        assert set(found) == set(file["packets"][step])
        for name, data in found.items():
            expected = file["packets"][step][name]
            assert hashlib.sha256(data).hexdigest() == expected["envelope"], (step, name)
            assert (digest_of(arrays[name]).hex() if arrays else "") == expected["array"], (step, name)

    state = unhex(file["state"])
    t0 = first_transcript(file["context"], unhex(file["roster_digest"]), state)
    check("start", dict.fromkeys(NAMES, ask("start", t0, [unhex(file["signed_roster"]), state, [], [], b""])))
    hellos = {name: site.hello(t0) for name, site in sites.items()}
    check("hello", hellos)
    check("cohort", dict.fromkeys(NAMES, ask("cohort", t0, [list(hellos.values()), []])))
    t1 = H("secagg T1", t0, *hellos.values())
    deals = {name: site.deal(t1, sites, t) for name, site in sites.items()}
    check("deal", {name: pack([deals[name], list(site.sealed.values())]) for name, site in sites.items()})
    dealt = list(deals.values())
    sealed = {name: [s.sealed[name] for s in sites.values() if s.name != name] for name in NAMES}
    check("envelopes", {name: ask("envelopes", t1, [dealt, sealed[name]]) for name in NAMES})
    t2 = H("secagg T2", t1, *deals.values())
    uploads = {name: sites[name].masked(t2, sites) for name in survivors}
    check("masked", uploads, {name: sites[name].vector for name in survivors})
    check("survivors", dict.fromkeys(survivors, ask("survivors", t2, [list(uploads.values())])))
    t3 = H("secagg T3", t2, *uploads.values())
    assert [t0.hex(), t1.hex(), t2.hex(), t3.hex()] == [file[name] for name in ("T0", "T1", "T2", "T3")]
    confirms = {name: sites[name].say("confirm", t3, []) for name in survivors}
    check("confirm", confirms)
    check("confirms", dict.fromkeys(survivors, ask("confirms", t3, [list(confirms.values())])))
    opened = {
        name: ([sites[s].shares[name][1] for s in survivors], [sites["d"].shares[name][0]])
        for name in survivors
    }
    check("open", {name: sites[name].say("open", t3, list(shares)) for name, shares in opened.items()})
    total = unmasked(file, sites, survivors, opened)
    assert total == file["sum"]
    plain = [
        sum(column) % 2**32 for column in zip(*(file["vectors"][name] for name in survivors), strict=True)
    ]
    assert total == plain
    result = ask("result", t3, [len(total), digest_of(total), []])
    check("result", dict.fromkeys(survivors, result), dict.fromkeys(survivors, total))
    body = [list(survivors), state, unhex(file["next"])]
    check("accept", {name: sites[name].say("accept", t3, body) for name in survivors})
