"""Requests that nobody would think of, made by schemathesis from the site's own description of its routes.

The site serves no description, so it is taken from the application. Forms are read by hand there, and their fields are added here.
Half of the addresses name rows that are there, so that the requests come further than "not found".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from tests.sites import Site, Visitor

TEXTS = (
    "action",
    "client_uuid",
    "reason",
    "events",
    "name",
    "title",
    "criterion",
    "instructions",
    "token",
    "text",
    "kind",
)
NUMBERS = (
    "based_on",
    "version",
    "overlap",
    "rating_min",
    "rating_max",
    "active_ms",
    "wall_ms",
    "rank-0",
    "rank-1",
    "user",
)
CHOICES = {
    "action": ("submit", "skip", "draft", "up:0", "tie:1", "fail:2", "edit:0"),
    "mode": ("ranking", "pairwise", "thumbs", "rating", "demonstration"),
    "ties": ("allow", "discourage", "forbid"),
    "state": ("active", "paused", "excluded"),
    "language": ("en", "de"),
    "keys": ("on", "off"),
    "everywhere": ("0", "1"),
    "closed": ("0", "1"),
    "content_warning": ("", "1"),
}
LOGGING_OUT = "/logout"
"""Left out: whoever is signed out there gets no further."""


@dataclass
class Outcome:
    """Statuses and how often, and the requests that the site failed at."""

    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return sum(self.statuses.values())


def description(site: Site) -> dict[str, Any]:
    """Return the site's OpenAPI description, with the fields of its forms."""
    found: dict[str, Any] = site.app.openapi()
    found["paths"].pop(LOGGING_OUT, None)
    for methods in found["paths"].values():
        for method, operation in methods.items():
            if method == "post" and "requestBody" not in operation:
                operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": _form()}}}
    return found


def _form() -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "string"} for name in TEXTS} | {
        name: {"type": "integer"} for name in NUMBERS
    }
    fields |= {name: {"anyOf": [{"enum": list(few)}, {"type": "string"}]} for name, few in CHOICES.items()}
    return {"type": "object", "properties": fields}


def fuzz(
    site: Site, people: Mapping[str, int | None], ids: Mapping[str, list[Any]], num_cases: int, at: int
) -> Outcome:
    """Send so many requests, the people in turn, and return what came back; the same for the same seed `at`."""
    schema = schemathesis.openapi.from_dict(description(site))
    visitors = [site.visitor(user) for user in people.values()]
    outcome = Outcome()
    operations = [each.ok() for each in schema.get_all_operations()]
    while outcome.cases < num_cases:
        each_gets = max(1, (num_cases - outcome.cases) // (2 * len(operations)))
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                at += 1
                # What takes nothing cannot be given anything wrong.
                with suppress(Unsatisfiable):
                    _fuzz_one(operation, mode, each_gets, at, visitors, ids, outcome)
    return outcome


def _fuzz_one(
    operation: Any,
    mode: GenerationMode,
    num_cases: int,
    at: int,
    visitors: list[Visitor],
    ids: Mapping[str, list[Any]],
    outcome: Outcome,
) -> None:
    luck = random.Random(at)

    @seed(at)
    @settings(
        max_examples=num_cases,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        visitor = visitors[luck.randrange(len(visitors))]
        if luck.random() < 0.5:
            for name in case.path_parameters or {}:
                if name in ids:
                    case.path_parameters[name] = luck.choice(ids[name])
        method, url, headers, body = _wire(case)
        if visitor.csrf:
            headers["x-csrf-token"] = visitor.csrf
            if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                body = b"&".join(filter(None, (body, f"csrf={visitor.csrf}".encode())))
        headers.pop("content-length", None)
        answer = visitor.client.request(method, url, headers=headers, content=body)
        outcome.statuses[answer.status_code] += 1
        outcome.operations[operation.label] += 1
        if answer.status_code >= 500:
            outcome.failures.append(f"{method} {url} {body[:500]!r} -> {answer.status_code}")

    send()


def _wire(case: Case) -> tuple[str, str, dict[str, str], bytes]:
    """Return a case as it goes over the line: method, address, headers, body."""
    prepared = requests.Request(**_plain(case.as_transport_kwargs(base_url="http://testserver"))).prepare()
    headers = {name.lower(): value for name, value in prepared.headers.items()}
    body = prepared.body or b""
    return str(prepared.method), str(prepared.url), headers, body if isinstance(body, bytes) else str(body).encode()


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    known = ("method", "url", "headers", "files", "data", "params", "auth", "cookies", "json")
    return {name: options[name] for name in known if name in options}


def furnished(site: Site) -> tuple[dict[str, int | None], dict[str, list[Any]]]:
    """Put data into a site: a project of every mode with answers; return the people and the rows there are."""
    people: dict[str, int | None] = {"labeler": site.user("fuzzed labeler"), "nobody": None}
    people["manager"] = site.user("fuzzed manager", "manager")
    projects, tasks = [], []
    for mode in CHOICES["mode"]:
        texts = ("One.", "Two.") if mode == "pairwise" else ("One.", "Two.", "Three.")
        projects.append(site.project(mode=mode, texts=texts))
        site.join(projects[-1], int(people["labeler"] or 0))
        found = site.visitor(people["labeler"]).get(f"/api/projects/{projects[-1]}/next").json()
        tasks.append(found["task"]["task_id"])
    rows = {"project_id": projects, "task_id": tasks, "user_id": [user for user in people.values() if user]}
    return people, {**rows, "kind": ["rankings"], "name": ["heed.css"], "token": ["x"]}


def lines(outcome: Outcome) -> Iterator[str]:
    """Yield what came of it, in words."""
    yield f"{outcome.cases} cases: " + ", ".join(
        f"{status}: {count}" for status, count in sorted(outcome.statuses.items())
    )
    yield from outcome.failures
