from __future__ import annotations

from pathlib import Path

import pytest

from heedful.errors import ConfigError
from heedful.records.paths import resolve


def test_paths_start_at_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_DATA", "/data")
    monkeypatch.setenv("HOME", "/home/ada")
    base = Path("/recipes")
    assert resolve("a.csv", base) == Path("/recipes/a.csv")
    assert resolve("/b.csv", base) == Path("/b.csv")
    assert resolve("$HEED_DATA/c.csv", base) == Path("/data/c.csv")
    assert resolve("${HEED_DATA}/c.csv", base) == Path("/data/c.csv")
    assert resolve("~/d.csv", base) == Path("/home/ada/d.csv")


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEED_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"\$HEED_DATA/c.csv: the variable HEED_DATA is not set"):
        resolve("$HEED_DATA/c.csv", Path())
