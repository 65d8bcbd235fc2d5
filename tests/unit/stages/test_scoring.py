"""The settings of scorers: what a recipe may say, and what is refused before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from heedful.apps.verbs import check_together, load_verb, parse_settings
from heedful.errors import ConfigError
from heedful.stages import align
from heedful.stages.scoring import scoring_digests, weights_of

SERVICE = {"url": "http://127.0.0.1:8500/score"}


def checked(parts: Mapping[str, Any], inputs: Mapping[str, tuple[str, ...]] | None = None, **reward: Any) -> Any:
    """The settings of `align` as a recipe gives them, checked as the runner does before the first stage."""
    verb = load_verb("align")
    config = parse_settings(verb, {"reward": {"parts": parts, **reward}}, "r.toml: align")
    check_together(verb, config, inputs or {}, "r.toml: align")
    return config


def test_each_kind_of_part() -> None:
    parts = {
        "helpful": {"input": "reward"},
        "harmless": {"input": "scorers.1", "weight": 2.0},
        "kind": {"input": "scorers.0"},
        "polite": {"function": "rewards.py:polite", "missing": 0.0},
        "judge": {"service": SERVICE},
        "brief": {"length": {"max_length": 40}, "weight": -0.5},
        "form": {"format": {"ends_with": ["."]}, "weight": 0.0},
    }
    config = checked(parts, {"reward": ("rm",), "scorers": ("one", "two")})
    assert [part.kind for part in config.reward.parts.values()] == [
        *["input"] * 3,
        "function",
        "service",
        "length",
        "format",
    ]
    assert weights_of(config.model_dump(mode="json")) == {
        "helpful": 1.0,
        "harmless": 2.0,
        "kind": 1.0,
        "polite": 1.0,
        "judge": 1.0,
        "brief": -0.5,
        "form": 0.0,
    }
    assert weights_of(align.Config().model_dump(mode="json")) == weights_of({}) == {}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, "exactly one of input, function, service, length, format was expected, got none"),
        ({"function": "a.py:f", "input": "reward"}, "got input and function"),
        ({"function": "a.py:f", "wieght": 1.0}, "parts.x.wieght: no such setting; did you mean 'weight'"),
        ({"function": "a.py:f", "weight": "heavy"}, 'parts.x.weight: expected a number, got "heavy"'),
        ({"length": {}}, "every length is in this range"),
        ({"length": {"min_length": 5, "max_length": 3}}, "max_length 3 is below min_length 5"),
        ({"length": {"unit": "tokens", "max_length": 3}}, "parts.x.length.unit: expected"),
        ({"format": {}}, "it asks for nothing"),
        ({"format": {"pattern": "("}}, "not a regular expression"),
        ({"service": {}}, "parts.x.service.url: no value is given"),
        ({"service": {"url": "127.0.0.1:8500"}}, "an address was expected"),
        ({"service": {"url": "ftp://127.0.0.1/"}}, "an address was expected"),
        ({"service": {"url": "http:///score"}}, "an address was expected"),
        ({"service": {"url": "http://127.0.0.1:99999/"}}, "an address was expected"),
        ({"service": {"url": "http://anna:secret@scorer.example/"}}, "url: it holds a name or a password"),
        ({"service": {"url": "htp:/anna:secret@scorer"}}, "url: it holds a name or a password"),
        ({"service": SERVICE | {"token": "s3cret-token"}}, "parts.x.service.token: expected"),
        (
            {"service": {"url": "http://scorer.example/", "token": "JUDGE"}},
            "it would travel unencrypted to scorer.example",
        ),
        ({"input": "scorers.0"}, "'scorers.0' is no reward model among the inputs"),
        ({"input": "policy"}, "'policy' is no reward model among the inputs"),
    ],
)
def test_a_part_that_is_wrong(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        checked({"x": part})
    assert str(caught.value).startswith("r.toml: align.reward")
    assert "secret@" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["Helpful", "two words", "a.b", "", "1st", "a\n"])
def test_names_that_make_no_metric(name: str) -> None:
    with pytest.raises(ConfigError, match=r"r\.toml: align\.reward\.parts"):
        checked({name: {"length": {"max_length": 3}}})


def test_a_token_over_https_or_on_this_machine() -> None:
    for url in ("https://scorer.example/", "http://localhost:8500/", "http://[::1]:8500/"):
        checked({"x": {"service": {"url": url, "token": "JUDGE"}}})


RULE = {"brief": {"length": {"max_length": 3}}}


@pytest.mark.parametrize(
    ("parts", "inputs", "reward", "message"),
    [
        ({}, {}, {}, "inputs: give either the input 'reward' or the setting reward.function"),
        ({}, {"reward": ("rm",)}, {"function": "a.py:f"}, "inputs: give either"),
        ({}, {"reward": ("rm",), "scorers": ("rm",)}, {}, "inputs.scorers: only parts refer to it"),
        (RULE, {}, {"function": "a.py:f"}, "reward.function: the score is the sum of reward.parts"),
        (RULE, {"reward": ("rm",)}, {}, "inputs: no part uses 'reward'"),
        (RULE | {"a": {"input": "scorers.0"}}, {"scorers": ("rm", "rm")}, {}, "inputs: no part uses 'scorers.1'"),
        (
            {"a": {"input": "scorers.2"}},
            {"scorers": ("rm", "rm")},
            {},
            "reward.parts.a.input: 'scorers.2' is no reward model",
        ),
    ],
)
def test_scorers_that_do_not_go_together(
    parts: Any, inputs: Mapping[str, tuple[str, ...]], reward: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"align.{message}"):
        checked(parts, inputs, **reward)


def test_digests_follow_the_files_of_the_functions(tmp_path: Path) -> None:
    code = tmp_path / "rewards.py"
    code.write_text("def f(prompts, completions, **columns): ...")
    config = checked({"polite": {"function": "rewards.py:f"}, "brief": RULE["brief"]}).reward
    before = scoring_digests(config, tmp_path)
    assert list(before) == ["reward.parts.polite.function"]
    code.write_text("def f(prompts, completions, **columns): return []")
    assert scoring_digests(config, tmp_path) != before
