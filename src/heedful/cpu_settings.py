"""How torch uses memory on a CPU. It reads these once, when it first computes; what the user has set stays."""

from __future__ import annotations

import os

SETTINGS = {
    # Code and scratch memory are kept for each shape met in bf16, by oneDNN and by torch's layer above it: of 1,024 shapes unless
    # told otherwise, which is a GiB after a few iterations. So many are as fast.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "LRU_CACHE_CAPACITY": "32",
    # Large tensors in large pages: some percent less time, no more memory. Where the kernel has none it changes nothing.
    "THP_MEM_ALLOC_ENABLE": "1",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
