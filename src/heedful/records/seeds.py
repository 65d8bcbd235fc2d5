"""Seeds by name: every random draw of a run comes from (seed, stage, step, purpose), never from a global generator.

Two purposes never share a stream, and a run that was stopped and started again finds each stream where it belongs, because
a stream depends on names and not on what was drawn before it.
"""

from __future__ import annotations

import hashlib

_BITS = 63
"""Seeds fit a signed 64-bit integer, which is what torch takes."""


def derive_seed(*parts: int | str) -> int:
    """Return the seed of a named stream.

        seed = the top 63 bits of the first 8 bytes of sha256("part/part/...")

    Args:
        parts: the run's seed and the names of stage, step and purpose, at least one. `1` and `"1"` are the same part.

    Returns:
        An integer in [0, 2**63).
    """
    if not parts:
        raise ValueError("derive_seed needs at least one part, such as the run's seed")
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - _BITS)
