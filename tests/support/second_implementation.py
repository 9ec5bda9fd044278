"""The aggregation protocol a second time, written from ``SPEC.md`` alone.

Plain Python over hashlib, hmac and the bare ciphers and curves of ``cryptography``: slow, without checks, and
without a line of the first implementation. Test vectors are compared with it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from fractions import Fraction

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = 2**256 + 297
pack = msgspec.msgpack.encode
unhex = bytes.fromhex


def H(label, *parts):  # noqa: N802
    data = b"".join(len(part).to_bytes(8, "big") + part for part in (b"wardround " + label.encode(), *parts))
    return hashlib.sha256(data).digest()


def hkdf(secret, *labels):
    info = b""
    for label in labels:
        kind = {str: b"s", int: b"i", bytes: b"b"}[type(label)]
        value = label if kind == b"b" else str(label).encode()
        info += kind + len(value).to_bytes(4, "big") + value
    extracted = hmac.digest(b"wardround streams 1", secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def key_stream(cipher, key, n):
    algorithm = (
        Cipher(algorithms.AES(key), modes.CTR(bytes(16)))
        if cipher == "aes-256-ctr"
        else Cipher(algorithms.ChaCha20(key, bytes(16)), None)
    )
    return algorithm.encryptor().update(bytes(n))


def masked_by(vector, key, sign, *, cipher="aes-256-ctr", bits=32):
    data = key_stream(cipher, key, len(vector) * bits // 8)
    words = struct.unpack(f"<{len(vector)}{'H' if bits == 16 else 'I'}", data)
    return [(x + sign * word) % 2**bits for x, word in zip(vector, words, strict=True)]


def digest_of(vector, bits=32):
    data = struct.pack(f"<{len(vector)}{'H' if bits == 16 else 'I'}", *vector)
    head = b"wardround secagg vector" + bytes([bits // 8]) + len(vector).to_bytes(8, "big")
    return hashlib.sha256(head + data).digest()


def split(secret, t, n, entropy):
    coefficients = [int.from_bytes(entropy[48 * i : 48 * i + 48], "big") % P for i in range(t - 1)]
    coefficients.append(int.from_bytes(secret, "big"))
    powers = range(t - 1, -1, -1)
    return [
        (sum(a * x**k for a, k in zip(coefficients, powers, strict=True)) % P).to_bytes(33, "big")
        for x in range(1, n + 1)
    ]


def combine(points):
    total = 0
    for x, share in points.items():
        above = below = 1
        for other in points:
            if other != x:
                above, below = above * other % P, below * (other - x) % P
        total += int.from_bytes(share, "big") * above * pow(below, -1, P)
    return (total % P).to_bytes(32, "big")


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret, peer):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(peer))


def seal(key, dealer, holder, t1, plain):
    own = hkdf(key, "secagg channel", t1, dealer, holder)
    return AESGCM(own).encrypt(bytes(12), plain, pack([t1, dealer, holder]))


def envelope(context, kind, sender, covered, body, seed):
    fields = [1, unhex(context["plan_digest"]), context["round"], context["kind"], context["attempt"]]
    fields += [kind, sender, covered, pack(body)]
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(H("envelope", pack(fields)))
    return pack([*fields, signature])


def first_transcript(context, roster, state):
    return H("secagg T0", pack({**context, "plan_digest": unhex(context["plan_digest"])}), roster, state)


def real(value):
    if isinstance(value, dict):
        return unhex(value["hex"])
    return [real(item) for item in value] if isinstance(value, list) else value


def f32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def level(method, x, weight, q, k, random):
    most, scale = weight * q, weight * q / 2.0**k
    if method == "exact":
        return round(min(max(x * scale, -most), most)) % 2**32
    if method == "fast":
        return round(min(max(f32(x * f32(scale)), -f32(most)), f32(most))) % 2**32
    most, scale = f32(most * 65536), f32(scale * 65536)
    return (int(min(max(f32(x * scale), -most), most)) + random) // 65536 % 65536


def dithers(key, sizes):
    """The 16 random bits of each number; ``sizes``: how many numbers have one clip."""
    data, place, found = key_stream("aes-256-ctr", key, 1000), 0, []
    for m in sizes:
        half = (m + 1) // 2
        words = struct.unpack(f"<{half}I", data[place : place + 4 * half])
        place += 4 * half
        found += [words[i] % 65536 if i < half else words[i - half] // 65536 for i in range(m)]
    return found


def above(number):
    """The exponent of the smallest power of two that is larger."""
    exponent = 0
    while 2**exponent <= number:
        exponent += 1
    while Fraction(1, 2) * Fraction(2) ** exponent > number:
        exponent -= 1
    return exponent


def clips_after(parts, last, *, n, first):
    """The clips after an aggregate, given by tensors."""
    if not any(x for part in parts for x in part):
        return last
    found = []
    for part, old in zip(parts, last, strict=True):
        largest = Fraction(max(abs(x) for x in part))
        k = -40
        if largest:
            squares = sum(round(Fraction(x) / largest * 2**15) ** 2 for x in part)
            spread = 16 * n * largest**2 * squares / (len(part) * 2**30)
            k = max(above(largest * Fraction(5, 4)), -(-above(spread) // 2))
        found.append(k if first else max(k, old - 2))
    return [min(max(k, max(found) - 8, -40), 20) for k in found]


class SecondSite:
    """A site of the whole round."""

    def __init__(self, file, name) -> None:
        self.file, self.name, self.context = file, name, file["context"]
        entropy = unhex(file["entropy"][name])
        self.channel, self.mask, self.seed = entropy[:32], entropy[32:64], entropy[64:96]
        self.rest = entropy[96:]
        self.identity = unhex(file["identity_seeds"][name])

    def say(self, kind, covered, body):
        return envelope(self.context, kind, self.name, covered, body, self.identity)

    def hello(self, t0):
        body = [
            public(self.channel),
            public(self.mask),
            unhex(self.file["state"]),
            unhex(self.file["ledger_head"]),
        ]
        return self.say("hello", t0, body)

    def deal(self, t1, others, t):
        n, place = len(others), 48 * (t - 1)
        keys = split(self.mask, t, n, self.rest[:place])
        seeds = split(self.seed, t, n, self.rest[place : 2 * place])
        self.sealed = {
            name: seal(agree(self.channel, public(other.channel)), self.name, name, t1, key + seed)
            for (name, other), key, seed in zip(others.items(), keys, seeds, strict=True)
            if name != self.name
        }
        self.shares = dict(zip(others, zip(keys, seeds, strict=True), strict=True))

        def commit(what, shares):
            return [
                H("secagg share", t1, what, self.name.encode(), name.encode(), share)
                for name, share in zip(others, shares, strict=True)
            ]

        body = [
            H("secagg seed", t1, self.name.encode(), self.seed),
            commit(b"mask key", keys),
            commit(b"seed", seeds),
        ]
        body.append([H("secagg ciphertext", ciphertext) for ciphertext in self.sealed.values()])
        return self.say("deal", t1, body)

    def masked(self, t2, others):
        c = self.context
        about = (unhex(c["plan_digest"]), c["round"], c["kind"], c["attempt"], "vector")
        vector = masked_by(
            self.file["vectors"][self.name], hkdf(self.seed, "secagg self mask", *about, self.name), 1
        )
        for name, other in others.items():
            if name != self.name:
                agreed = agree(self.mask, public(other.mask))
                key = hkdf(agreed, "secagg pair mask", *about, *sorted((self.name, name)))
                vector = masked_by(vector, key, 1 if self.name < name else -1)
        self.vector = vector
        return self.say("masked", t2, [len(vector), digest_of(vector)])


def unmasked(file, sites, survivors, opened):
    """The sum, from the uploads and the opened shares alone."""
    c = file["context"]
    about = (unhex(c["plan_digest"]), c["round"], c["kind"], c["attempt"], "vector")
    places = {name: i for i, name in enumerate(sites, 1)}
    total = [sum(column) % 2**32 for column in zip(*(sites[name].vector for name in survivors), strict=True)]
    for i, name in enumerate(survivors):
        seed = combine({places[holder]: opened[holder][0][i] for holder in survivors})
        total = masked_by(total, hkdf(seed, "secagg self mask", *about, name), -1)
    dropped = combine({places[holder]: opened[holder][1][0] for holder in survivors})
    for name in survivors:  # each comes before d, and so has added the pair's mask
        key = hkdf(agree(dropped, public(sites[name].mask)), "secagg pair mask", *about, name, "d")
        total = masked_by(total, key, -1)
    return total
