"""How close is equal, by name. A test never writes a number of its own."""

EXACT = 0.0
"""Bit for bit."""

FP32 = 1e-6
"""Two ways to the same fp32 number of size one: a few roundings apart."""

FP32_SUM = 1e-5
"""The same through longer sums, or for numbers of size ten."""

FP64 = 1e-10
"""Two ways to the same fp64 number."""

ORACLE = 1e-6
"""Another library's advantages and losses."""

ORACLE_GRADIENT = 1e-5
"""Another library's gradients."""

BF16 = 1e-2
"""A bf16 model's number against fp32."""

STANDARD_ERRORS = 3.0
"""How many standard errors a sample mean may stand from what it estimates (seeds are fixed)."""
