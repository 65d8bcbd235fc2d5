"""A reward model as an HTTP service: what `heed serve-reward` runs, and a service in a recipe asks."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field, ValidationError

from heedful.apps.web.serve import check_host, is_loopback
from heedful.engines.batching import Batcher
from heedful.engines.seeding import num_threads, pin
from heedful.errors import ArtifactError, ConfigError
from heedful.models.reward import load_reward_model
from heedful.models.roles import Scorer
from heedful.records.artifacts import Artifact
from heedful.records.types import Meta, Prompt

BODY_BYTES = 16 * 2**20
"""What one request may hold."""
MOST_ROWS = 4096
"""Completions in one request at most."""
log = logging.getLogger("heedful.scoring")


class Row(BaseModel):
    """One completion to be scored."""

    id: Annotated[str, Field(max_length=200)]
    prompt: Prompt
    completion: str
    meta: Meta = {}


class Question(BaseModel):
    """The body of a request."""

    rows: Annotated[list[Row], Field(min_length=1, max_length=MOST_ROWS)]


def make_service(scorer: Scorer, name: str, *, batch_rows: int, token: str = "") -> FastAPI:
    """Return the service: POST /score, and GET / which says what it serves.

    Args:
        scorer: judges text.
        name: what it is called.
        batch_rows: requests that wait are scored together up to so many rows.
        token: callers must show it, as `Authorization: Bearer ...`; empty asks for none.
    """
    service = FastAPI(title=f"Scores of {name}", docs_url=None, redoc_url=None, openapi_url=None)
    batcher = Batcher(scorer, batch_rows)

    @service.get("/")
    async def about() -> dict[str, str]:
        return {"serves": name, "score": "POST /score"}

    @service.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        _check_caller(request, token)
        rows = _question(await _body(request)).rows
        asked = batcher.submit([row.prompt for row in rows], [row.completion for row in rows])
        try:
            scores = await asyncio.wrap_future(asked)
        except Exception:
            log.exception("scoring failed")
            raise HTTPException(500, "the scorer failed; the service's log says why") from None
        return {"scores": [{"id": row.id, "score": score} for row, score in zip(rows, scores, strict=True)]}

    return service


def serve_reward(
    folder: Path,
    host: str,
    port: int,
    *,
    batch_rows: int,
    token_variable: str | None,
    behind_tls: bool,
    say: Callable[[str], None],
) -> None:
    """Serve a reward model until Ctrl-C.

    Args:
        folder: an artifact of `reward`, or the folder of a reward model.
        host: the address to listen on.
        port: its port; 0 for a free one.
        batch_rows: as in `make_service`.
        token_variable: the environment variable that holds the token.
        behind_tls: a TLS proxy stands in front.
        say: takes the line for the person at the terminal.

    Raises:
        ConfigError: others could reach it without TLS or without a token; the port is taken.
        ModelError: there is no reward model.
    """
    import uvicorn

    check_host(host, behind_tls=behind_tls)
    token = _token(token_variable, host)
    pin(num_threads())
    scorer = load_reward_model(model_folder(folder))
    with _listening(host, port) as sock:
        service = make_service(scorer, folder.resolve().name, batch_rows=batch_rows, token=token)
        shown = f"[{host}]" if ":" in host else host
        say(f"Scores are given at http://{shown}:{sock.getsockname()[1]}/score")
        settings = uvicorn.Config(service, log_level="warning", server_header=False)
        uvicorn.Server(settings).run([sock])


def model_folder(folder: Path) -> Path:
    """Return the folder that holds reward.json of an artifact, or of a model given by itself.

    Raises:
        ArtifactError: it is the artifact of another stage, or was altered.
    """
    if not (folder / "manifest.json").is_file():
        return folder
    artifact = Artifact.open(folder)
    if artifact.stage != "reward":
        raise ArtifactError(f"{folder}: the artifact of 'reward' was expected, got that of '{artifact.stage}'")
    artifact.verify(quick=True)
    return artifact.path / "model"


def _token(variable: str | None, host: str) -> str:
    if variable is None:
        if not is_loopback(host):
            raise ConfigError(f"--host {host}: other machines can reach it; say --token with the variable of a token")
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(f"--token {variable}: this environment variable is not set; it should hold the token")
    return token


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(f"--host {host} --port {port}: cannot listen there: {error.strerror or error}") from None
    return sock


def _check_caller(request: Request, token: str) -> None:
    if "origin" in request.headers:  # every browser sends it with a POST, also on behalf of somebody else's page
        raise HTTPException(403, "this service is for programs, not for pages")
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(shown.encode(), token.encode()):
        raise HTTPException(401, "no token, or not the right one")


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_BYTES:
            raise HTTPException(413, f"more than {BODY_BYTES} bytes; send fewer rows")
    return bytes(found)


def _question(body: bytes) -> Question:
    try:
        return Question.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HTTPException(422, f"{place}: {first['msg']}" if place else first["msg"]) from None
