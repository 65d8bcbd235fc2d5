"""The documentation is true: generated pages are fresh, links lead somewhere, nothing is missing, code runs."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heedful import errors
from heedful.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+)?( run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
METRIC_SOURCES = (
    "engines/ppo.py",
    "engines/rollout.py",
    "engines/aligning.py",
    "engines/fitting.py",
    "engines/watch/monitor_columns.py",
    "engines/watch/gold_watch.py",
)
HELD_OUT_SOURCES = (
    "engines/supervised.py",
    "engines/rewards/heldout_pairs.py",
    "engines/rewards/classifying.py",
    "engines/rewards/rating.py",
)


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def reference(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def test_generated_pages_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_changed_page_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path / "docs"
    copy.mkdir()
    (copy / "generate.py").write_text((DOCS / "generate.py").read_text(encoding="utf-8"), encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, str(copy / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1
    assert "align.md is out of date" in checked.stdout


# -- links ---------------------------------------------------------------------------------------------------------------------


def slugs(text: str) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path) -> list[str]:
    """The relative links of a page that lead nowhere. A picture may be missing: it is made from a run."""
    wrong = []
    for picture, target in LINK.findall(path.read_text(encoding="utf-8")):
        place, _, anchor = target.partition("#")
        if picture or "://" in target:
            continue
        linked = (path.parent / place) if place else path
        if not linked.exists() or (anchor and anchor not in slugs(linked.read_text(encoding="utf-8"))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Here\n\n[x](b.md) [y](#there) [z](#here) [w](https://example.org/q)\n")
    assert broken(tmp_path / "a.md") == ["b.md", "#there"]


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        path = todo.pop().resolve()
        if path in seen or path.suffix != ".md":
            continue
        seen.add(path)
        links = (target.partition("#")[0] for _, target in LINK.findall(path.read_text(encoding="utf-8")))
        todo += [path.parent / link for link in links if link and "://" not in link]
    assert {path.resolve() for path in DOCS.rglob("*.md")} - seen == set()


# -- nothing is missing --------------------------------------------------------------------------------------------------------


def metric_keys(source: str) -> set[str]:
    """The constant keys of dicts that functions of these names return, log or fill: what a row of metrics is made of."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and function.name in ROWS:
            for node in ast.walk(function):
                match node:
                    case ast.Dict(keys=keys):
                        found |= {
                            key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
                        }
                    case ast.Subscript(value=ast.Name(id="metrics" | "sums"), slice=ast.Constant(value=str(key))):
                        found.add(key)
    return found


ROWS = {"update", "_step", "_loss", "_metrics", "_row", "fit", "_measure", "held_out", "measure"} | {
    "_outliers",
    "_disagreement",
    "_trends",
    "_peak",
}
"""Functions that make a row of metrics.jsonl or a part of one."""


def all_metrics() -> set[str]:
    files = (ROOT / "src" / "heedful" / name for name in (*METRIC_SOURCES, *HELD_OUT_SOURCES))
    keys = {key for file in files for key in metric_keys(file.read_text(encoding="utf-8"))}
    from heedful.engines.ppo import RATIO_ERROR

    return keys | {RATIO_ERROR}


def test_metrics_are_found_where_they_are_made() -> None:
    some = {
        "approx_kl",
        "kl_per_sequence",
        "explained_variance",
        "distinct_2",
        "lr",
        "heldout_loss",
        "heldout_auc",
        "loss",
    }
    assert some <= all_metrics()


def test_every_metric_is_documented() -> None:
    page = reference("metrics.md")
    assert {key for key in all_metrics() if f"| `{key}` |" not in page} == set()


def test_no_metric_is_documented_that_is_not_made() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", reference("metrics.md"), re.MULTILINE)) - all_metrics() == set()


def test_every_error_is_documented() -> None:
    ours = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.HeedError)]
    assert len(ours) >= 9
    assert [name for name in ours if f"| `{name}` |" not in reference("errors.md")] == []


def test_every_command_is_documented() -> None:
    from heedful.apps.cli import app

    names = [command.name for command in app.registered_commands]
    assert {"run", "init", "show", "export"} <= set(names)
    assert [name for name in names if f"`heed {name}`" not in reference("cli.md")] == []


def test_every_stage_has_its_page() -> None:
    assert {path.stem for path in (DOCS / "reference" / "stages").glob("*.md")} - {"index"} == set(STAGES)


def test_every_setting_has_a_sentence() -> None:
    rows = re.findall(
        r"^\| `\w+` \| .* \| ([^|]*) \|$", "".join(reference(f"stages/{name}.md") for name in STAGES), re.M
    )
    assert len(rows) > 50
    assert [row for row in rows if not row.strip()] == []


def test_every_shipped_recipe_is_listed() -> None:
    page = reference("recipes.md")
    shipped = (ROOT / "src" / "heedful" / "recipes").glob("*.toml")
    assert [path.stem for path in shipped if f"| `{path.stem}` |" not in page] == []


# -- code ----------------------------------------------------------------------------------------------------------------------


def blocks(language: str, run: bool | None = None) -> list[tuple[str, str]]:
    """(page and number, text) of the fenced blocks of a language."""
    return [
        (f"{page_name(path)}-{number}", text)
        for path in PAGES
        for number, (name, marked, text) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")))
        if name == language and run in (None, bool(marked))
    ]


def by_place(found: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("code", [text for _, text in found], ids=[place for place, _ in found])


@by_place(blocks("python"))
def test_python_compiles(code: str) -> None:
    compile(code, "docs", "exec")


@by_place(blocks("python", run=True))
def test_python_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "docs", "exec"), {"__name__": "docs"})


@by_place(blocks("toml"))
def test_toml_is_toml_of_our_stages(code: str) -> None:
    import tomllib

    from heedful.apps.verbs import load_verb, parse_settings

    tables = tomllib.loads(code)
    for name, table in tables.items():
        if isinstance(table, dict):
            settings = {key: value for key, value in table.items() if key not in ("inputs", "stage")}
            verb = load_verb(table.get("stage", name))
            check_known(verb, settings, parse_settings)


def check_known(verb, settings, parse_settings) -> None:
    """A block may show some settings and leave required ones out; what it shows must be right."""
    from heedful.errors import ConfigError

    try:
        parse_settings(verb, settings, verb.name)
    except ConfigError as error:
        assert "no value is given" in str(error), str(error)


def test_there_are_blocks_that_run() -> None:
    assert len(blocks("python", run=True)) >= 5
    assert len(blocks("toml")) >= 10
