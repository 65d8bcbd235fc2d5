"""What must start without torch does: the command's help, the library, records, feedback, worlds, every stage's settings."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from heedful.stages import STAGES

HELP_SECONDS = 1.0
"""Processor time of `heed --help`, generous for slow machines; what torch alone takes is several times this."""
HEAVY = ("torch", "transformers", "datasets", "matplotlib", "scipy")


def loaded(code: str) -> set[str]:
    """Names of the heavy libraries that are imported when `code` has run, in a fresh interpreter."""
    probe = f"{code}\nimport sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import sys
from heedful.apps.cli import main
sys.argv = ["heed", {arguments}]
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize("arguments", ['"--help"', '"run", "--help"', '"align", "--help"', '"stages"', '"init"'])
def test_help_imports_nothing_heavy(arguments: str) -> None:
    assert loaded(HELP.format(arguments=arguments)) == set()


@pytest.mark.parametrize(
    "module", ["heedful", "heedful.records.artifacts", "heedful.feedback", "heedful.worlds", "heedful.apps.runner"]
)
def test_these_modules_import_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}") == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gives_its_settings_without_torch(stage: str) -> None:
    assert loaded(f"from heedful.apps.verbs import load_verb; load_verb({stage!r}).config.model_json_schema()") == set()


def test_planning_a_recipe_needs_no_torch() -> None:
    code = "from heedful.apps.runner import dry_run, load; from heedful.apps.shipped import find; dry_run(load(find('quickstart')))"
    assert loaded(code) == set()


def test_the_probe_sees_what_is_heavy() -> None:
    assert loaded("import matplotlib") == {"matplotlib"}


def test_help_is_quick() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", HELP.format(arguments='"--help"')], capture_output=True, check=True, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert time.perf_counter() > started
    assert after.ru_utime - before.ru_utime < HELP_SECONDS
