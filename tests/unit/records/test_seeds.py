"""Named seeds."""

from __future__ import annotations

import hashlib

import pytest

from heedful.records.seeds import derive_seed


def test_is_the_top_63_bits_of_the_hash() -> None:
    digest = hashlib.sha256(b"7/align/3/sampling").hexdigest()
    assert derive_seed(7, "align", 3, "sampling") == int(digest[:16], 16) // 2


def test_a_known_value() -> None:
    # printf 0 | sha256sum -> 5feceb66ffc86f38...
    assert derive_seed(0) == 0x5FECEB66FFC86F38 >> 1


def test_streams_differ_by_every_part() -> None:
    seeds = {derive_seed(s, name, i) for s in range(10) for name in ("sft", "align") for i in range(10)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_needs_a_part() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        derive_seed()
