"""Recipes: one TOML file that says all of a run. A name, a seed, the stages in order, each naming its inputs.

No inheritance, no interpolation, no defaults from elsewhere; `--set` is the only other way to change a run. What is checked here is
the recipe's own shape; a stage's settings are checked by the stage.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heedful.errors import ConfigError
from heedful.records.recipe_lines import with_line

TOP_LEVEL = ("name", "title", "seed", "stages")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Step:
    """One stage of a recipe.

    Args:
        name: its table's name, unique in the recipe.
        stage: the verb it runs.
        inputs: role to the names of earlier steps; more than one only where the role takes several.
        settings: everything else in its table, unchecked.
    """

    name: str
    stage: str
    inputs: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Args:
        name: the run's folder is called so.
        title: what the report is called.
        seed: every random draw of the run derives from it.
        path: the file it came from; relative paths in settings start at its folder.
        steps: in the order in which they run.
        given: the tables it was made from, overrides and all.
    """

    name: str
    title: str
    seed: int
    path: Path
    steps: tuple[Step, ...]
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(
        cls, path: Path | str, overrides: Mapping[str, Any] | None = None, *, stages: Collection[str] = ()
    ) -> Recipe:
        """Read a recipe.

        Args:
            path: a TOML file.
            overrides: path to value, such as `{"align.kl.coef": 0.1}`.
            stages: the verbs there are; where none are given, any name passes.

        Raises:
            ConfigError: no such file, not TOML, or not a recipe; names file, place and the nearest right name.
        """
        path = Path(path)
        return cls.parse(read_toml(path), path, overrides, stages=stages)

    @classmethod
    def parse(
        cls,
        given: Mapping[str, Any],
        path: Path,
        overrides: Mapping[str, Any] | None = None,
        *,
        stages: Collection[str] = (),
    ) -> Recipe:
        """Return the recipe that these tables make; `path` is what messages call it."""
        tables = copy.deepcopy(dict(given))
        for place, value in (overrides or {}).items():
            _override(tables, place, value, path)
        try:
            return cls._of(tables, path, stages)
        except ConfigError as error:
            raise ConfigError(with_line(str(error), path, tables)) from None

    @classmethod
    def _of(cls, tables: Mapping[str, Any], path: Path, stages: Collection[str]) -> Recipe:
        order = _order(tables, path)
        _check_tables(tables, order, path)
        steps = [_step(name, tables, order, path, stages) for name in order]
        name = _text(tables, "name", path)
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f'{path}: name: "{name}" cannot be a folder\'s name; letters, digits, - and _ were expected'
            )
        title = _text(tables, "title", path) if "title" in tables else name
        return cls(name, title, _seed(tables, path), path, tuple(steps), tables)

    def step(self, name: str) -> Step:
        """Return a step by name; ConfigError names the nearest."""
        for step in self.steps:
            if step.name == name:
                return step
        raise ConfigError(f"{self.path}: no stage is called '{name}'{nearest(name, [s.name for s in self.steps])}")

    def tables(self) -> dict[str, Any]:
        """Return the recipe as tables again, overrides and all, so that `to_toml` can write it down."""
        head = {"name": self.name, "title": self.title, "seed": self.seed, "stages": [step.name for step in self.steps]}
        return {**head, **{step.name: _table(step) for step in self.steps}}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; ConfigError gives file and line of a mistake."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe; `heed init` lists and copies the shipped ones") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; the recipe's file was expected") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not valid UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_toml_message(path, str(error))) from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return path and value of "a.b=c"; the value is read as TOML, and a bare word as a string."""
    place, equals, value = text.partition("=")
    if not equals or not place.strip():
        raise ConfigError(f"--set {text}: path=value was expected, such as align.kl.coef=0.1")
    try:
        return place.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return place.strip(), value.strip()


def nearest(name: str, known: Collection[str]) -> str:
    """Return "; did you mean 'x'?" for the known name that is most like it, else what is known, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


def to_toml(tables: Mapping[str, Any]) -> str:
    """Return tables as TOML text: plain values first, then one section per table."""
    return "\n".join(_section(tables, ())).strip() + "\n"


def set_value(table: dict[str, Any], place: str, value: Any, path: Path) -> None:
    """Set the value at "a.b.c" in nested tables, which are made where they are absent; ConfigError where a value is in the way."""
    *parents, last = place.split(".")
    for depth, key in enumerate(parents):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: --set {place}: '{'.'.join(parents[: depth + 1])}' is a value, not a table")
    table[last] = value


def _override(tables: dict[str, Any], place: str, value: Any, path: Path) -> None:
    """Set one value of a recipe. The stage's table must exist; which settings it may hold, the stage says later."""
    first, dot, _ = place.partition(".")
    known = [key for key, table in tables.items() if isinstance(table, dict)] if dot else TOP_LEVEL
    if first not in known:
        what = "stage's table" if dot else "setting"
        raise ConfigError(f"{path}: --set {place}: there is no {what} '{first}'{nearest(first, known)}")
    set_value(tables, place, value, path)


def _order(tables: Mapping[str, Any], path: Path) -> list[str]:
    order = tables.get("stages")
    if not isinstance(order, list) or not order or not all(isinstance(name, str) for name in order):
        raise ConfigError(f'{path}: stages: a list of names was expected, such as stages = ["data", "sft"]')
    twice = next((name for name in order if order.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: stages: '{twice}' stands twice; give the second one a name and table of its own")
    return order


def _check_tables(tables: Mapping[str, Any], order: Sequence[str], path: Path) -> None:
    for key, value in tables.items():
        if key in TOP_LEVEL:
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {key}: no such setting{nearest(key, (*TOP_LEVEL, *order))}")
        if key not in order:
            raise ConfigError(f"{path}: [{key}]: not in the list of stages{nearest(key, order)}")
    for name in order:
        if name not in tables:
            known = [key for key, value in tables.items() if isinstance(value, dict)]
            raise ConfigError(f"{path}: stages: '{name}' has no table [{name}]{nearest(name, known)}")


def _step(name: str, tables: Mapping[str, Any], order: Sequence[str], path: Path, stages: Collection[str]) -> Step:
    settings = dict(tables[name])
    stage = str(settings.pop("stage", name))
    if stages and stage not in stages:
        where = f"{name}.stage" if "stage" in tables[name] else f"[{name}]"
        raise ConfigError(f"{path}: {where}: no stage is called '{stage}'{nearest(stage, stages)}")
    inputs = settings.pop("inputs", {})
    if not isinstance(inputs, dict):
        raise ConfigError(f'{path}: {name}.inputs: a table was expected, such as inputs = {{ policy = "sft" }}')
    found = {role: _sources(name, role, given, order, path) for role, given in inputs.items()}
    for role, sources in found.items():
        _check_order(f"{path}: {name}.inputs.{role}", name, sources, order, tables)
    return Step(name, stage, found, settings)


def _sources(name: str, role: str, given: object, order: Sequence[str], path: Path) -> tuple[str, ...]:
    place = f"{path}: {name}.inputs.{role}"
    sources = _names(given)
    if not sources or (isinstance(given, list) and len(sources) < len(given)):
        raise ConfigError(f"{place}: the name of a stage was expected, got {show(given)}")
    for source in sources:
        if source not in order:
            raise ConfigError(f"{place}: there is no stage '{source}'{nearest(source, order)}")
    return tuple(sources)


def _names(given: object) -> list[str]:
    return [source for source in (given if isinstance(given, list) else [given]) if isinstance(source, str)]


def _check_order(
    place: str, name: str, sources: Sequence[str], order: Sequence[str], tables: Mapping[str, Any]
) -> None:
    """Refuse an input that is made later: it stands in the wrong place, or it needs this stage itself."""
    for source in sources:
        if order.index(source) < order.index(name):
            continue
        chain = _chain(source, name, tables, ())
        if chain:
            told = ", ".join(f"{one} needs {other}" for one, other in itertools.pairwise((name, *chain)))
            raise ConfigError(f"{place}: a cycle: {told}; no stage can be made from what needs it")
        raise ConfigError(f"{place}: '{source}' comes later in the list of stages; put it before '{name}'")


def _chain(source: str, goal: str, tables: Mapping[str, Any], seen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stages from `source` to `goal`, each of which needs the next; empty where there is no such way."""
    if source == goal:
        return (*seen, goal)
    inputs = tables[source].get("inputs") if isinstance(tables.get(source), dict) else None
    given = inputs.values() if isinstance(inputs, dict) else ()
    needed = [name for names in given for name in _names(names) if name not in (*seen, source)]
    return next((chain for name in needed if (chain := _chain(name, goal, tables, (*seen, source)))), ())


def _seed(tables: Mapping[str, Any], path: Path) -> int:
    seed = tables.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"{path}: seed: a whole number from 0 was expected, got {show(seed)}")
    return seed


def _text(tables: Mapping[str, Any], key: str, path: Path) -> str:
    value = tables.get(key)
    if not isinstance(value, str) or not value:
        got = "nothing" if value is None else show(value)
        raise ConfigError(f"{path}: {key}: text was expected, got {got}")
    return value


def _table(step: Step) -> dict[str, Any]:
    inputs = {role: names[0] if len(names) == 1 else list(names) for role, names in step.inputs.items()}
    return {"stage": step.stage, **({"inputs": inputs} if inputs else {}), **step.settings}


def _toml_message(path: Path, message: str) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return f"{path}: not valid TOML: {message}"
    return f"{path}:{place[1]}: not valid TOML: {message[: place.start()]} (column {place[2]})"


def show(value: object) -> str:
    """Return a value as messages show it: as TOML would, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _section(table: Mapping[str, Any], place: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items() if value is not None]
    if place and (lines or not nested):
        lines = ["", f"[{'.'.join(_key(part) for part in place)}]", *lines]
    for key, value in nested.items():
        lines += _section(value, (*place, key))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items() if inner is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(inner) for inner in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value) if isinstance(value, bool | int) else str(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
