"""Who asks, and whether they may: what every route gets handed before it does anything."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Path
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from heedful.apps.web.problems import Problem, not_found
from heedful.apps.web.rates import Rate
from heedful.feedback.setup.accounts import Account, account, touch
from heedful.feedback.store.database import Database

LARGEST_ID = 2**53
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
"""A number of a row in an address; anything else there is an address that does not exist."""

LONGEST_TOKEN = 200
MOST_FIELDS = 300
_BEARER = "bearer "


def now() -> datetime:
    """Return the moment; only the web layer reads the clock."""
    return datetime.now(UTC)


def database_of(request: Request) -> Database:
    """Return the store of this site."""
    database: Database = request.app.state.database
    return database


def cookie_name(secure: bool) -> str:
    """Return the session cookie's name; the prefix binds it to this host and to TLS, which a loopback site has not."""
    return "__Host-sid" if secure else "sid"


def session_of(request: Request) -> tuple[str, bool]:
    """Return (session key or "", whether it came in a cookie). A bearer token wins, and then no cookie counts."""
    header = request.headers.get("authorization", "")
    if header.lower().startswith(_BEARER):
        return header[len(_BEARER) :].strip(), False
    return request.cookies.get(cookie_name(request.app.state.secure), ""), True


async def _store(request: Request) -> Database:
    """The same as a dependency; not in a thread of its own, as all that it does is to look something up."""
    return database_of(request)


def visitor(request: Request) -> Account | None:
    """Return who asks; None where nobody is signed in. Pages find it in `request.state.account`."""
    key, _ = session_of(request)
    database = database_of(request)
    found = database.look(lambda s: account(s, key, now())) if key else None
    request.state.account = found
    if found is not None and request.app.state.touches.allows(str(found.user_id)):
        database.write(lambda s: touch(s, key, now()))
    return found


def signed_in(request: Request) -> Account:
    """Return who asks; 401 where nobody is signed in."""
    found = visitor(request)
    if found is None:
        raise Problem(401, "sign_in")
    return found


def managing(request: Request) -> Account:
    """Return the manager who asks; for labelers there is no such address."""
    found = signed_in(request)
    if found.role == "labeler":
        raise not_found()
    return found


Anyone = Annotated[Account, Depends(signed_in)]
Manager = Annotated[Account, Depends(managing)]
Store = Annotated[Database, Depends(_store)]


class Form:
    """The fields of a form that was sent; a field that is absent is empty, and none is longer than its limit."""

    def __init__(self, data: FormData) -> None:
        self._data = data

    def text(self, name: str, longest: int = 1000) -> str:
        """Return a field; 422 where it is longer than `longest` characters."""
        value = self._data.get(name, "")
        if not isinstance(value, str):
            raise Problem(422, "invalid", f"{name}: text was expected")
        if len(value) > longest:
            raise Problem(422, "invalid", f"{name}: at most {longest} characters, got {len(value)}")
        return value.replace("\r\n", "\n")

    def number(self, name: str, default: int = 0, *, most: int = LARGEST_ID) -> int:
        """Return a field as a whole number of at least 0; the default where it is absent or is none."""
        text = self.text(name, 20)
        return min(int(text), most) if text.isascii() and text.isdecimal() else default

    def upload(self, name: str) -> UploadFile | None:
        """Return a file; None where none was chosen."""
        value = self._data.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    def values(self) -> Mapping[str, str]:
        """Return all text fields."""
        return {name: value for name, value in self._data.items() if isinstance(value, str)}


async def read_form(request: Request) -> Form:
    """Return the form in the body."""
    return Form(await request.form(max_fields=MOST_FIELDS, max_files=1, max_part_size=2 * 2**20))


async def signed_form(request: Request, who: Anyone, form: Annotated[Form, Depends(read_form)]) -> Form:
    """Return the form, once its token is that of the session; a bearer token needs none."""
    check_csrf(request, who, form.text("csrf", 200))
    return form


def check_csrf(request: Request, who: Account, given: str) -> None:
    """Refuse a request that came with a cookie and without the session's token."""
    _, by_cookie = session_of(request)
    if by_cookie and not hmac.compare_digest(given.encode(), who.csrf.encode()):
        raise Problem(403, "stale_form")


async def signed_call(request: Request, who: Anyone) -> None:
    """The same for JSON: the token comes in `X-CSRF-Token`."""
    check_csrf(request, who, request.headers.get("x-csrf-token", ""))


def caller(request: Request, *, signed: bool = False) -> Account:
    """Return who asks, where that is asked all the time: as dependencies the same questions cost as much as all the rest.

    With `signed` the token of the form must have come along in `X-CSRF-Token`.
    """
    who = signed_in(request)
    if signed:
        check_csrf(request, who, request.headers.get("x-csrf-token", ""))
    return who


Signed = Annotated[Form, Depends(signed_form)]


def limit(rate: Rate, key: str) -> None:
    """Refuse what happens too often."""
    if not rate.allows(key):
        raise Problem(429, "too_often")


def remember(response: Response, request: Request, session: str) -> None:
    """Put the session's cookie on an answer."""
    secure: bool = request.app.state.secure
    response.set_cookie(
        cookie_name(secure), session, max_age=7 * 86_400, path="/", secure=secure, httponly=True, samesite="lax"
    )


def forget(response: Response, request: Request) -> None:
    """Take the session's cookie away."""
    secure: bool = request.app.state.secure
    response.delete_cookie(cookie_name(secure), path="/", secure=secure, httponly=True, samesite="lax")
