"""A Python function as scorer: found relative to the recipe, checked, its errors in one line."""

from pathlib import Path

import pytest

from heedful.errors import ConfigError, DataError
from heedful.models.functions import FunctionScorer, function_digest

CODE = """
def polite(prompts, completions, **columns):
    return [None if not text else float("please" in text) for text in completions]

def bonus(prompts, completions, weight=(), **columns):
    return list(weight)

def short(prompts, completions, **columns):
    return [1.0]

def broken(prompts, completions, **columns):
    raise KeyError("no such\\nthing")

def words(prompts, completions, **columns):
    return ["good"] * len(completions)

def endless(prompts, completions, **columns):
    return [float("nan")] * len(completions)

number = 3
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "rewards.py").write_text(CODE)
    (tmp_path / "bad.py").write_text("import nothing_of_this_name")
    return tmp_path


def test_scores_and_none(base: Path) -> None:
    scorer = FunctionScorer("rewards.py:polite", base)
    assert scorer.score(["a", "b", "c"], ["please sit", "sit", ""]) == [1.0, 0.0, None]


def test_columns_reach_the_function(base: Path) -> None:
    assert FunctionScorer("rewards.py:bonus", base).score(["a"], ["x"], weight=[2]) == [2.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "gave 1 scores for 2 completions"),
        ("broken", "failed: KeyError"),
        ("words", "score 0 is 'good'"),
        ("endless", "score 0 is nan"),
    ],
)
def test_a_function_that_misbehaves_is_one_line(base: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        FunctionScorer(f"rewards.py:{name}", base).score(["a", "b"], ["x", "y"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("rewards.py", "expected 'file.py:name'"),
        ("absent.py:polite", "no file"),
        ("rewards.py:rude", "no function 'rude'"),
        ("rewards.py:number", "no function 'number'"),
        ("bad.py:polite", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_wrong_reference_says_what_is_wrong(base: Path, reference: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FunctionScorer(reference, base)


def test_the_digest_follows_the_file_and_the_name(base: Path) -> None:
    before = function_digest("rewards.py:polite", base)
    assert function_digest("rewards.py:short", base) != before
    (base / "rewards.py").write_text(CODE + "\n# changed")
    assert function_digest("rewards.py:polite", base) != before


SLOW = """
import time
from pathlib import Path

def silent(prompts, completions, **columns):
    while not Path(__file__).with_name("given up").exists():
        time.sleep(0.02)

def late_itself(prompts, completions, **columns):
    raise TimeoutError("the database")

def texts(prompts, completions, **columns):
    return ["0.5"] * len(completions)

def none(prompts, completions, **columns):
    return None
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silent", r"scorer slow\.py:silent: nothing for 0\.2 s; raise reward\.timeout if it needs longer"),
        ("late_itself", "failed: TimeoutError: the database"),
        ("texts", "score 0 is '0.5'; expected a finite number or None"),
        ("none", "failed: TypeError"),
    ],
)
def test_a_function_with_a_time_limit(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    scorer = FunctionScorer(f"slow.py:{name}", tmp_path, timeout=0.2)
    with pytest.raises(DataError, match=message):
        scorer.score(["a", "b"], ["x", "y"])
    (tmp_path / "given up").touch()


def test_within_its_time_limit_it_scores_as_without(base: Path) -> None:
    scorer = FunctionScorer("rewards.py:polite", base, timeout=20)
    assert scorer.score(["a", "b", "c"], ["please sit", "sit", ""]) == [1.0, 0.0, None]
