"""Constitution files: what they say, what is refused, what the check points out, and how principles are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from heedful.errors import ConfigError
from heedful.records.constitution import SHIPPED, Principle, constitution_path, draw, read_constitution
from heedful.records.constitution_checks import findings, load_constitution, too_long

WHOLE = """
name = "mine"
prompts = ["How do I open a window?"]
[[principles]]
name = "calm"
critique = "Where is it loud?"
revision = "Make it calm."
comparison = "Which is calmer?"
tags = ["tone"]
[[principles]]
name = "short"
comparison = "Which is shorter?"
weight = 3.0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_constitution_has_sixteen_of_each_and_nothing_to_point_out() -> None:
    constitution = load_constitution(SHIPPED / "default.toml")
    assert len(constitution.usable("revision")) >= 16
    assert len(constitution.usable("comparison")) >= 16
    assert len(constitution.revisions) >= 5
    assert len(constitution.choices) >= 5
    assert len(constitution.thoughts) >= 2
    assert findings(constitution) == []


def test_a_principle_serves_what_it_has_texts_for(tmp_path: Path) -> None:
    constitution = load_constitution(written(tmp_path, WHOLE))
    assert [p.name for p in constitution.usable("revision")] == ["calm"]
    assert [p.name for p in constitution.usable("comparison")] == ["calm", "short"]
    assert [p.name for p in constitution.usable("comparison", ["tone"])] == ["calm"]
    assert [p.name for p in constitution.usable("comparison", ["short"])] == ["short"]


def test_the_version_changes_with_the_words_and_not_with_comments(tmp_path: Path) -> None:
    first = read_constitution(written(tmp_path, WHOLE)).digest
    assert read_constitution(written(tmp_path, "# a comment\n" + WHOLE)).digest == first
    assert read_constitution(written(tmp_path, WHOLE.replace("calmer", "quieter"))).digest != first
    assert read_constitution(written(tmp_path, WHOLE.replace("3.0", "2.0"))).digest != first


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tags = ["tone"]', 'tag = ["tone"]', "principles.0.tag ('calm'): there is no such key; did you mean 'tags'?"),
        ("weight = 3.0", 'weight = "much"', "principles.1.weight ('short'): a number was expected"),
        ("weight = 3.0", "weight = -1", "principles.1.weight ('short'): greater than or equal to 0 was expected"),
        ('name = "mine"', "", "name: missing"),
        ('name = "mine"', "name = ", "not valid TOML"),
        ('comparison = "Which is shorter?"', 'comparison = " "', "principle 'short'.comparison: is empty"),
        ('comparison = "Which is shorter?"', "", "principle 'short': has neither"),
        ('revision = "Make it calm."', "", "principle 'calm': has a critique request and lacks its other half"),
        ('name = "short"', 'name = "calm"', "principle 'calm': the name is given 2 times"),
        (
            "Make it calm.",
            "Make it calm.\\n\\nHuman: hello",
            "principle 'calm'.revision: contains the turn marker 'Human:'",
        ),
        ("Which is shorter?", "Which is shorter? Options:", "principle 'short'.comparison: ends with 'Options:'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_constitution(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_unknown_principles_and_missing_questions_are_refused(tmp_path: Path) -> None:
    constitution = read_constitution(written(tmp_path, WHOLE))
    with pytest.raises(ConfigError, match="no principle or tag 'calmm'; did you mean 'calm'"):
        constitution.usable("comparison", ["calmm"])
    with pytest.raises(ConfigError, match="none of its 2 principles has a critique and revision request"):
        constitution.usable("revision", ["short"])
    mute = read_constitution(
        written(
            tmp_path, WHOLE.replace('comparison = "Which is calmer?"', "").split('[[principles]]\nname = "short"')[0]
        )
    )
    with pytest.raises(ConfigError, match="none of its 1 principles has a comparison question"):
        mute.usable("comparison")


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such constitution; shipped are: default"):
        read_constitution(tmp_path / "absent.toml")
    assert constitution_path("default", tmp_path) == SHIPPED / "default.toml"
    assert constitution_path("mine.toml", tmp_path) == tmp_path / "mine.toml"


def test_the_check_tells_duplicates_without_refusing_them(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE.replace("Which is shorter?", "which  is CALMER?"))
    (found,) = findings(read_constitution(path))
    assert (found.wrong, found.text) == (False, "have the same comparison text, so it is drawn 2 times as often")
    assert found.place == "principles 'calm' and 'short'"


def test_what_leaves_the_context_is_named(tmp_path: Path) -> None:
    constitution = read_constitution(written(tmp_path, WHOLE))
    # counted in characters: the longest question of the two takes 181 and 2 answers of 10 and one more token
    assert list(too_long(constitution, len, 10_000, room=10)) == []
    names = [found.place for found in too_long(constitution, len, 100, room=10)]
    assert names == ["principle 'calm'.revision", "principle 'calm'.comparison", "principle 'short'.comparison"]


def test_principles_are_drawn_by_weight_and_by_seed() -> None:
    heavy, light, never = (Principle(name=n, comparison="?", weight=w) for n, w in (("a", 3.0), ("b", 1.0), ("c", 0.0)))
    drawn = Counter(draw([heavy, light, never], seed)[0].name for seed in range(4000))
    assert drawn["c"] == 0
    # 3,000 of 4,000 expected, standard deviation sqrt(4000 * 3/4 * 1/4) = 27.4: four of them either side
    assert abs(drawn["a"] - 3000) < 110
    assert draw([heavy, light], 7) == draw([heavy, light], 7)
    assert {p.name for p in draw([heavy, light, never], 1, 2)} == {"a", "b"}
    assert [p.name for p in draw([heavy, light], 5, 9)] == ["a", "b"]
