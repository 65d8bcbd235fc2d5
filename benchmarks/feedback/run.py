"""make bench-feedback: the figures of collecting feedback. Statistics: power, kemeny, cohort, real; the site: the others.

    python benchmarks/feedback/run.py [--only power kemeny cohort real load kills crowd schemathesis] [--projects 1000]
A part that is asked for is measured anew, one that is not keeps its rows in `results.json`. Long parts go piece by piece: what a
piece found lies in `rows/` as soon as it is done, and `--continue` takes that instead of measuring again. `real` reads the data
sets under HEED_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.feedback import cohort as cohorts  # noqa: E402
from benchmarks.feedback import exactness, power, real, site_parts  # noqa: E402
from benchmarks.feedback.sites import DATABASES  # noqa: E402
from benchmarks.results import NO_TARGET, publish, row, write  # noqa: E402

ROWS = HERE / "rows"
COMMAND = "make bench-feedback ARGS='--only {}'"
Rows = list[dict[str, Any]]


def main() -> None:
    """Measure what is asked for, part by part; each part's rows are written as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--projects", type=int, default=1000, help="simulated projects per cell of power")
    parser.add_argument("--kills", type=int, default=site_parts.KILLS, help="kills per database")
    parser.add_argument("--databases", nargs="*", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--continue", dest="go_on", action="store_true", help="keep the pieces that are done")
    args = parser.parse_args()
    for name in args.only:
        found = PARTS[name](args)
        publish(HERE / "results.json", name, found)


def flags(args: argparse.Namespace) -> Rows:
    """Return the power of the flags, cell by cell."""
    command = COMMAND.format("power")
    ROWS.mkdir(exist_ok=True)
    found = []
    for fault in power.TARGETS:
        path = ROWS / f"power-{fault.replace(' ', '-')}-{args.projects}.json"
        if not (args.go_on and path.is_file()):
            write(path, power.cell(fault, args.projects, command))
        found += json.loads(path.read_text(encoding="utf-8"))
        print(f"{fault}: done", flush=True)
    return [*found, *power.agreement(100, command)]


def kemeny(_: argparse.Namespace) -> Rows:
    """Return the exactness and the time of the consensus."""
    return exactness.rows(COMMAND.format("kemeny"))


def cohort(_: argparse.Namespace) -> Rows:
    """Return time and memory of a thousand labelers and a million rankings, in a process of its own."""
    command = COMMAND.format("cohort")
    done = subprocess.run(
        [sys.executable, str(HERE / "cohort.py")], check=True, capture_output=True, text=True, env=one_thread()
    )
    found = json.loads(done.stdout)
    what = f"{cohorts.LABELERS} labelers, {cohorts.RANKINGS} rankings"

    def figure(name: str, value: float, unit: str, target: str = NO_TARGET) -> dict[str, Any]:
        return row(f"{what}: {name}", value, None, None, unit, target, cohorts.RANKINGS, command)

    seconds, memory = found["seconds"], found["peak_mb"]
    return [
        figure("all together", round(sum(seconds.values()), 1), "s"),
        figure("peak memory of the process", round(max(memory.values())), "MB"),
        figure("of which the answers and the modules", round(found["input_mb"]), "MB"),
        *(figure(name, round(value, 2), "s") for name, value in seconds.items()),
        figure(f"bad labelers flagged, of {found['bad']}", found["bad_flagged"], "labelers"),
        figure("careful labelers flagged", found["careful_flagged"], "labelers"),
    ]


def one_thread() -> dict[str, str]:
    """Return the environment with one thread for the numerics."""
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def known(_: argparse.Namespace) -> Rows:
    """Return the figures on real labelers.

    Raises:
        SystemExit: the data is not there.
    """
    data = Path(os.environ.get("HEED_DATA", "")).expanduser()
    if not os.environ.get("HEED_DATA") or not (data / "dialsummeval").is_dir():
        raise SystemExit("the part 'real' reads dialsummeval, pandalm and hatecheck under $HEED_DATA; set it")
    return real.rows(data, COMMAND.format("real"))


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "power": flags,
    "kemeny": kemeny,
    "cohort": cohort,
    "real": known,
    "load": lambda args: site_parts.load_rows(args.databases, COMMAND.format("load")),
    "crowd": lambda args: site_parts.crowd_rows(args.databases, args.go_on, COMMAND.format("crowd")),
    "schemathesis": lambda args: site_parts.schemathesis_rows(COMMAND.format("schemathesis")),
    "kills": lambda args: site_parts.kill_rows(args.databases, args.kills, args.go_on, COMMAND.format("kills")),
}


if __name__ == "__main__":
    main()
