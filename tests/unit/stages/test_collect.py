"""collect: from a panel or from a file, never from both, and what it says about the labelers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heedful.worlds
from heedful.errors import ConfigError, DataError
from heedful.records.artifacts import Artifact
from heedful.records.types import Completion, Ranking
from heedful.stages import collect
from heedful.testing.artifacts import artifact_of, run_stage

PANEL = [{"name": f"careful-{i}"} for i in range(4)] + [
    {"name": "turned", "fault": "reversed"},
    {"name": "clicker", "fault": "random"},
]


class LengthWorld:
    """The longer, the better; a text of one letter is nonsense."""

    name = "length"
    version = 7

    def utility(self, prompt: str, completion: str) -> float:
        return float(len(completion))

    @property
    def measures(self) -> dict[str, Callable[[str, str], float]]:
        return {"utility": self.utility, "worth": lambda prompt, completion: -self.utility(prompt, completion)}

    def is_fail(self, prompt: str, completion: str) -> bool:
        return len(completion) == 1


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heedful.worlds, "get_world", lambda name: LengthWorld())


def completions(prompts: int = 60, each: int = 4) -> list[Completion]:
    rng = np.random.default_rng(0)
    return [
        Completion(id=f"p{i}-{k}", prompt_id=f"p{i}", prompt=f"prompt {i}", completion="x" * int(length), index=k)
        for i in range(prompts)
        for k, length in enumerate(rng.integers(1, 60, size=each))
    ]


def collected(store: Path, *, seed: int = 0, rows: list[Completion] | None = None, **settings: Any) -> Artifact:
    source = artifact_of(store, "sample", completions=rows or completions())
    config = collect.Config(**{"criterion": "better", **settings})
    return run_stage(collect, config, {"completions": source}, store, seed=seed, base=store)


def test_a_panel_answers_every_task(tmp_path: Path) -> None:
    found = collected(tmp_path, panel=PANEL, world="length", overlap=3)
    rankings = found.records("rankings", Ranking)
    assert found.metrics == {"rankings": 180, "tasks": 60, "labelers": 6}
    assert all(set(r.completions) == set(r.displayed_order) for r in rankings)
    assert {r.criterion for r in rankings} == {"better"}
    about = json.loads(found.file("labelers.json").read_text())
    assert about["planted"] == {"turned": "reversed", "clicker": "random"}
    assert about["careful"] == ["careful-0", "careful-1", "careful-2", "careful-3"]
    assert about["labelers"] == sorted(member["name"] for member in PANEL)
    # Careful ones agree with gold more than with each other, and more than the whole panel does.
    assert about["agreement_with_gold"]["value"] > about["careful_agreement"]["value"] > about["agreement"]["value"]


def test_careful_labelers_without_noise_agree_with_gold(tmp_path: Path) -> None:
    panel = [{"name": "a", "noise": 0, "tie_width": 0}, {"name": "b", "noise": 0, "tie_width": 0}]
    found = collected(tmp_path, panel=[*panel, PANEL[4]], world="length", overlap=2)
    about = json.loads(found.file("labelers.json").read_text())
    assert about["agreement_with_gold"]["value"] == 1
    assert about["careful_agreement"]["value"] == 1


def test_nonsense_gets_an_f(tmp_path: Path) -> None:
    rows = [row.model_copy(update={"completion": "x"}) if row.id == "p0-2" else row for row in completions()]
    found = collected(tmp_path, rows=rows, panel=PANEL[:4], world="length", overlap=4)
    assert all("p0-2" in r.fails for r in found.records("rankings", Ranking) if r.task_id == "p0")


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, again, other = (
        collected(tmp_path / name, panel=PANEL, world="length", seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.content_digest == again.content_digest
    assert one.records("rankings", Ranking) != other.records("rankings", Ranking)


def test_rankings_from_a_file(tmp_path: Path) -> None:
    rows = [{"labeler": name, "ranking": [["p0-1"], ["p0-0", "p0-2", "p0-3"]]} for name in ("anna", "ben")]
    (tmp_path / "rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = collected(tmp_path, rankings="rankings.jsonl")
    assert [r.labeler for r in found.records("rankings", Ranking)] == ["anna", "ben"]
    about = json.loads(found.file("labelers.json").read_text())
    assert (about["planted"], about["careful"], about["agreement_with_gold"]) == ({}, [], None)
    assert about["agreement"]["value"] == 1


def test_a_panel_ranks_by_the_measure_that_is_named(tmp_path: Path) -> None:
    panel = [{"name": "a", "noise": 0, "tie_width": 0, "marks_fails": False}]
    rows = [Completion(id=f"p/{k}", prompt_id="p", prompt="p", completion="x" * k, index=k) for k in (2, 4, 3)]
    best = {
        measure: collected(tmp_path / measure, rows=rows, panel=panel, world="length", overlap=1, measure=measure)
        .records("rankings", Ranking)[0]
        .ranking[0]
        for measure in ("utility", "worth")
    }
    assert best == {"utility": ("p/4",), "worth": ("p/2",)}


def test_external_follows_the_file_and_the_world(tmp_path: Path) -> None:
    config = collect.Config(criterion="c", rankings="$RANKINGS")
    with pytest.raises(ConfigError, match="RANKINGS is not set"):
        collect.external(config, tmp_path)
    config = collect.Config(criterion="c", rankings="r.csv")
    with pytest.raises(DataError, match="no such file"):
        collect.external(config, tmp_path)
    (tmp_path / "r.csv").write_bytes(b"abc")
    # printf abc | sha256sum
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert collect.external(config, tmp_path) == {"rankings": digest}
    simulated = collect.Config(criterion="c", panel=PANEL, world="length")
    assert collect.external(simulated, tmp_path) == {"world": "length 7"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one source"),
        ({"rankings": "r.jsonl", "panel": PANEL, "world": "length"}, "one source"),
        ({"panel": PANEL}, "world: it is not set"),
        (
            {"panel": PANEL, "world": "length", "measure": "taste"},
            "measure: world 'length' has 'utility' and 'worth', got 'taste'",
        ),
        ({"rankings": "r.jsonl", "world": "length"}, "for a panel only"),
        ({"panel": PANEL[:2], "world": "length", "overlap": 3}, "overlap"),
        ({"panel": [PANEL[0]] * 3, "world": "length"}, "same name"),
    ],
)
def test_exactly_one_source(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collected(tmp_path, **settings)


@pytest.mark.parametrize("each", [1, 10])
def test_a_task_has_two_to_nine_completions(tmp_path: Path, each: int) -> None:
    with pytest.raises(DataError, match=f"has {each} completions; a ranking takes 2 to 9"):
        collected(tmp_path, rows=completions(3, each), panel=PANEL, world="length")
