"""Private randomness: keys derived from a secret, and the streams of random numbers they open.

A key opens one stream, a stream is read forward only, and every purpose (sampling, noise, augmentation,
dither, and each step of each) has its own key: ``Stream(derive(secret, D, "train", "noise", step))``. Two
readers never share keystream, so nothing that one of them shows tells about another.

Not here: what the numbers are used for (``wardround_client.privacy``), and where secrets come from and how
long they live. torch's and numpy's generators are used nowhere: they are neither unpredictable nor the same
between versions.

Rules:

* Keys: HKDF-SHA256 over labels encoded with type and length, so that no two label lists share a key.
* Numbers: AES-256-CTR keystream, counter from zero. 64 bits give a uniform float of 53 bits.
* No loop whose length depends on a normal draw. ``below`` rejects words, with probability < high / 2**64.
* How a stream is cut into calls is part of its meaning: ``normal(3)`` then ``normal(2)`` is not
  ``normal(5)``.

Privacy: a float64 Gaussian has low-order bits that depend on its own value, and a sum of such a float and a
private number shows that number in its low bits (Mironov 2012: 100 % of the outputs can be told apart,
however large the noise). Noise that hides a patient is therefore taken from ``rounded_normal`` and added to
*integers*. The distance of the generated distribution from the Gaussian (53-bit uniforms, tail cut at 8.57
standard deviations) is of the order of 2**-53 per number; ``accounting`` says how that enters delta.

References:
    RFC 5869 (HKDF); NIST SP 800-38A section 6.5 (CTR); Mironov, CCS 2012 (low-order bits).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32

_SALT: Final = b"wardround streams 1"
_PIECE_WORDS: Final = 1 << 12
_ZEROS: Final = memoryview(bytes(8 * _PIECE_WORDS))
_INTEGERS_EXACT: Final = 2.0**52
_TAIL_SD: Final = 8.6


def derive(secret: bytes, *labels: str | int | bytes) -> bytes:
    """Derive the key that ``labels`` name under ``secret`` (HKDF-SHA256).

    Guarantees: different label lists give independent keys (``"ab", "c"``, ``"a", "bc"``, ``b"ab", "c"`` and
    ``1`` and ``"1"`` all differ); the key tells nothing about the secret or about keys of other labels.

    Args:
        secret: At least 32 bytes, from the operating system, a key agreement, or ``derive`` itself.
        *labels: What the key is for, at least one label.

    Returns:
        32 bytes.

    Raises:
        ValueError: The secret is shorter than 32 bytes or there is no label.
        TypeError: A label is neither str, int nor bytes (bool is none of them).
    """
    if len(secret) < KEY_BYTES:
        raise ValueError(f"a secret has at least {KEY_BYTES} bytes, got {len(secret)}")
    if not labels:
        raise ValueError("a derived key needs a label")
    info = b"".join(_encode_label(label) for label in labels)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=_SALT, info=info).derive(secret)


def _encode_label(label: str | int | bytes) -> bytes:
    """Type (1 byte), length (4 bytes, big-endian), value: lists of labels never read alike."""
    match label:
        case bool():
            raise TypeError("a label is str, int or bytes, got bool")
        case str():
            kind, value = b"s", label.encode()
        case int():
            kind, value = b"i", str(label).encode()
        case bytes():
            kind, value = b"b", label
        case _:
            raise TypeError(f"a label is str, int or bytes, got {type(label).__name__}")
    return kind + len(value).to_bytes(4, "big") + value


class Stream:
    """The random numbers of one key, in order, each handed out once.

    Guarantees:
        * Without the key, the numbers cannot be told from fair ones (AES-256 as a pseudo-random function).
        * The same key and the same calls give the same numbers. Bytes, ``uniform`` and ``below`` are the same
          on every machine; ``normal`` and what follows from it may differ in the last bit between processors,
          because ``log``, ``sin`` and ``cos`` do.

    A stream has no rewind, no copy and no pickle. Use one key for one stream.

    Args:
        key: 32 bytes, from ``derive``.
    """

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream's key has {KEY_BYTES} bytes, got {len(key)}")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a stream is not copied: derive another key")

    def bytes(self, n: int) -> bytes:
        """Return the next ``n`` bytes of keystream."""
        out = np.empty(_count(n), dtype=np.uint8)
        self.fill(out)
        return out.tobytes()

    def fill(self, out: npt.NDArray[np.uint8]) -> None:
        """Overwrite ``out``, contiguous, with the next bytes of keystream: the encryption of zeros."""
        for start in range(0, out.size, len(_ZEROS)):
            piece = out[start : start + len(_ZEROS)]
            self._encryptor.update_into(_ZEROS[: piece.size], piece.data)

    def uniform(self, n: int) -> npt.NDArray[np.float64]:
        """Return ``n`` multiples of 2**-53 in [0, 1), each equally likely. 8 bytes of keystream each."""
        out = np.empty(_count(n), dtype=np.float64)
        words = np.empty(min(n, _PIECE_WORDS), dtype="<u8")
        for start in range(0, n, _PIECE_WORDS):
            piece = out[start : start + _PIECE_WORDS]
            self._uniform_into(piece, words[: piece.size])
        return out

    def below(self, n: int, high: int) -> npt.NDArray[np.int64]:
        """Return ``n`` integers in [0, high), exactly equally likely. ``high`` from 1 to 2**63."""
        if not 1 <= high <= 2**63:
            raise ValueError(f"high is from 1 to 2**63, got {high}")
        reject_under = np.uint64(2**64 % high)
        words = self._words(_count(n))
        while (rejected := np.flatnonzero(words < reject_under)).size:
            words[rejected] = self._words(rejected.size)
        return (words % np.uint64(high)).astype(np.int64)

    def normal(self, n: int) -> npt.NDArray[np.float64]:
        """Return ``n`` standard normal numbers (Box-Muller, float64, at most 8.57 in size).

        Not for noise that hides a patient: see ``rounded_normal`` and the module's ``Privacy:``.
        """
        out = np.empty(_count(n) + n % 2, dtype=np.float64)
        words = np.empty(min(out.size, _PIECE_WORDS), dtype="<u8")
        work = np.empty(words.size, dtype=np.float64)
        for start in range(0, out.size, _PIECE_WORDS):
            piece = out[start : start + _PIECE_WORDS]
            self._uniform_into(work[: piece.size], words[: piece.size])
            _box_muller(work[: piece.size], piece)
        return out[:n]

    def _uniform_into(self, out: npt.NDArray[np.float64], words: npt.NDArray[np.uint64]) -> None:
        self.fill(words.view(np.uint8))
        np.right_shift(words, np.uint64(11), out=words)
        np.multiply(words, 2.0**-53, out=out)

    def _words(self, n: int) -> npt.NDArray[np.uint64]:
        words = np.empty(n, dtype="<u8")
        self.fill(words.view(np.uint8))
        return words


def rounded_normal(stream: Stream, n: int, *, sd: float) -> npt.NDArray[np.int64]:
    """Return ``n`` integers: Gaussians of standard deviation ``sd``, each rounded to the nearest integer.

    Guarantees: for an integer ``x``, ``x + rounded_normal`` equals ``rint(x + Gaussian)``. It is the
    continuous Gaussian mechanism followed by a rounding that needs no private number, so accounting for the
    continuous mechanism is exact (up to 2**-53 per number), for every ``sd``.

    Args:
        stream: Read forward by 8 bytes per number (an odd ``n`` counts as ``n + 1``).
        n: How many.
        sd: Standard deviation in integers, above 0 and below 2**52 / 8.6, so that every number is exact.

    Raises:
        ValueError: ``sd`` is out of range or not finite.
    """
    if not 0 < sd < _INTEGERS_EXACT / _TAIL_SD:
        raise ValueError(f"the standard deviation of integer noise is above 0 and below 2**48, got {sd}")
    out = np.empty(_count(n), dtype=np.int64)
    for start in range(0, n, _PIECE_WORDS):
        piece = out[start : start + _PIECE_WORDS]
        draws = stream.normal(piece.size)
        np.multiply(draws, sd, out=draws)
        piece[:] = np.rint(draws, out=draws)
    return out


def _box_muller(uniform: npt.NDArray[np.float64], out: npt.NDArray[np.float64]) -> None:
    """Turn an even number of uniforms in [0, 1) into as many normals; radii from the first half."""
    half = out.size // 2
    radius, angle = uniform[:half], uniform[half:]
    np.subtract(1.0, radius, out=radius)  # (0, 1]: the logarithm is finite
    np.log(radius, out=radius)
    np.multiply(radius, -2.0, out=radius)
    np.sqrt(radius, out=radius)
    np.multiply(angle, math.tau, out=angle)
    np.cos(angle, out=out[:half])
    np.sin(angle, out=out[half:])
    np.multiply(out[:half], radius, out=out[:half])
    np.multiply(out[half:], radius, out=out[half:])


def _count(n: int) -> int:
    if n < 0:
        raise ValueError(f"a number of draws is not negative, got {n}")
    return n
