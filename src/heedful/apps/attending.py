"""What a run does while a stage waits for people: it serves the labeling site; where the people are simulated, they come too."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from heedful.engines.progress import Live, LiveLine, say
from heedful.errors import StoreUnavailable, WaitingForPeople
from heedful.feedback.exchange.rounds import Round, Standing, numbers_of_tasks, standing
from heedful.feedback.exchange.simulated import Panel
from heedful.feedback.setup.accounts import invite, people
from heedful.feedback.store.database import Database

LOOK_EVERY = 1.0
"""Seconds between two looks at how far a round is."""
_NO_LIMIT = 10**9


@dataclass(frozen=True)
class Door:
    """How a run lets in the people it waits for.

    Args:
        wait: False to leave with a line that says what to do, in place of serving the site.
        port: the site's port on this machine; None for the usual one, or a free one where that is taken.
    """

    wait: bool = True
    port: int | None = None


def attend(waiting: WaitingForPeople, door: Door, name: str) -> float:
    """Return once the round has what it waits for, with the seconds that were work; people's time is none.

    Args:
        waiting: what the stage said.
        door: how people come in.
        name: of the stage.

    Raises:
        WaitingForPeople: there is nobody to wait for it, with what to do.
    """
    found = waiting.round
    if not isinstance(found, Round):
        raise waiting
    started = time.perf_counter()
    if found.panel is not None:
        _simulate(found, found.panel, name)
        return time.perf_counter() - started
    if not door.wait:
        raise _not_now(waiting, found, door)
    _serve(found, door, name)
    return 0.0


def _not_now(waiting: WaitingForPeople, found: Round, door: Door) -> WaitingForPeople:
    from heedful.apps.web.serve import LOOPBACK, PORT

    port = door.port or PORT
    elsewhere = "" if port == PORT else f" --port {port}"
    address = f"http://{LOOPBACK}:{port}{found.page}"
    message = (
        f"{waiting}; to let people answer run: heed label --database {shlex.quote(found.name)}{elsewhere} "
        f"(this round is {address}), and afterwards: {_same_again()}"
    )
    return WaitingForPeople(message, address=address, round=found)


def _same_again() -> str:
    """Return what goes on with a run that stopped: the command as it was given, if it was one."""
    program = Path(sys.argv[0])
    if program.name != "heed" and program.parts[-3:] != ("heedful", "apps", "cli.py"):
        return "the same call again"
    return shlex.join(["heed", *(word for word in sys.argv[1:] if word != "--no-wait")])


def _simulate(found: Round, panel: Panel, name: str) -> None:
    """Serve the site to a panel until it has answered all."""
    from heedful.apps.simulated_people import answer_all
    from heedful.apps.web.rates import Rate
    from heedful.apps.web.serve import local_socket, site_running

    database = Database.open(found.database)
    try:
        now = datetime.now(UTC)
        known = {each.name: each.user_id for each in database.read(people)}
        links = {
            member.name: database.write(partial(invite, user_id=known[member.name], now=now))
            for member in panel.members
        }
        numbers = database.read(lambda s: numbers_of_tasks(s, found.project_id))
        so_far = database.read(lambda s: standing(s, found.project_id))
        sock, base = local_socket(0)
        with site_running(database, sock) as app, Live(f"{name}: simulated people", so_far.wanted) as line:
            # Nobody else knows of this site, and its people are in a hurry.
            app.state.attempts = app.state.answers = Rate(_NO_LIMIT, 60.0)
            line.advance(so_far.answers)
            answer_all(base, links, found.project_id, panel, numbers, line.advance)
    finally:
        database.close()


def _serve(found: Round, door: Door, name: str) -> None:
    """Serve the site until the quota is met, by whichever process the answers come in."""
    from heedful.apps.web.serve import local_socket, manager_link, site_running

    sock, base = local_socket(door.port)
    database = Database.open(found.database)
    try:
        with site_running(database, sock):
            say(f"{name}: waits for people; answers are kept in {found.name}")
            say(f"To manage, open this link (good for one visit, three days):\n  {manager_link(database, base)}")
            say(f"This round: {base}{found.page}\nIt goes on by itself; Ctrl-C stops it; then: {_same_again()}")
            _wait(database, found, name)
    finally:
        database.close()


def _wait(database: Database, found: Round, name: str) -> None:
    """Show how far the round is until it has what it needs; a store that is away for a while is waited for too."""
    seen: Standing | None = None
    with Live(f"{name}: answers", database.read(lambda s: standing(s, found.project_id)).wanted) as line:
        while seen is None or not seen.meets(found.quota):
            if seen is not None:
                time.sleep(LOOK_EVERY)
            try:
                now = database.read(lambda s: standing(s, found.project_id))
            except StoreUnavailable as error:
                line.advance(0, note=str(error))
                time.sleep(LOOK_EVERY)
                continue
            _show(line, now, seen)
            seen = now


def _show(line: LiveLine, now: Standing, before: Standing | None) -> None:
    closed = "; the project is closed: open it, or lower the quota" if now.closed else ""
    note = f"{now.done} of {now.total} tasks have all of theirs{closed}"
    line.advance(now.answers - (before.answers if before else 0), note=note)
