"""Who may come in: accounts, one-time links, sessions. Only hashes are stored, so that a copy of the database opens nothing."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from heedful.errors import DataError, NotFound
from heedful.feedback.store.journal import note
from heedful.feedback.store.tables import LoginSession, LoginToken, User
from heedful.feedback.store.tables import Role as Role

IDLE = timedelta(hours=12)
LONGEST_SESSION = timedelta(days=7)
CLOCK_SLACK = timedelta(days=1)
"""How far a clock may be set back before sessions from the future end."""
_SEEN_EVERY = timedelta(minutes=1)
_TOKEN_BYTES = 32


_SIGNED_IN = (
    # Columns, no rows of objects: this is asked with every request.
    select(
        LoginSession.user_id,
        User.name,
        User.role,
        LoginSession.created,
        LoginSession.last_seen,
        LoginSession.expires,
    )
    .join(User, User.id == LoginSession.user_id)
    .where(LoginSession.hash == bindparam("hash"), User.active.is_(True))
)


@dataclass(frozen=True)
class SessionKeys:
    """What a browser gets at login: the secret of the cookie, and the token that forms carry."""

    session: str
    csrf: str


@dataclass(frozen=True)
class Account:
    """Who is logged in. `stale` asks for a `touch`: the last one is a minute ago."""

    user_id: int
    name: str
    role: Role
    csrf: str
    stale: bool


@dataclass(frozen=True)
class Person:
    """An account as managers see it."""

    user_id: int
    name: str
    role: Role
    active: bool


def add_user(s: Session, name: str, role: Role, now: datetime, *, by: int | None = None) -> int:
    """Make an account and return its id.

    Args:
        s: the session.
        name: a pseudonym, 1 to 80 printable characters, not taken yet; it stands in every export.
        role: "admin" may make managers, "manager" runs projects, "labeler" labels.
        now: the moment.
        by: who makes it; None for the command line.

    Raises:
        DataError: the name is empty, too long, not printable, or taken.
    """
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise DataError("expected 1 to 80 printable characters", field="name")
    if s.scalar(select(User.id).where(User.name == name)) is not None:
        raise DataError(f"'{name}' is taken", field="name", fix="choose another pseudonym")
    user = User(name=name, role=role, active=True, created=now)
    s.add(user)
    s.flush()
    note(s, now, by, "user.added", f"user/{user.id}", {"role": role})
    return user.id


def person(s: Session, user_id: int) -> Person:
    """Return somebody's account; NotFound where there is none."""
    user = s.get(User, user_id)
    if user is None:
        raise NotFound("there is no such person")
    return _person(user)


def people(s: Session) -> list[Person]:
    """Return all accounts by name."""
    return [_person(user) for user in s.scalars(select(User).order_by(User.name))]


def set_active(s: Session, user_id: int, active: bool, *, by: int | None, now: datetime) -> None:
    """Open or close an account; closing it ends its sessions and links."""
    if s.execute(update(User).where(User.id == user_id).values(active=active)).rowcount == 0:  # type: ignore[attr-defined]
        raise NotFound("there is no such person")
    if not active:
        log_out_everywhere(s, user_id)
        s.execute(delete(LoginToken).where(LoginToken.user_id == user_id, LoginToken.used_at.is_(None)))
    note(s, now, by, "user.opened" if active else "user.closed", f"user/{user_id}", {})


def invite(s: Session, user_id: int, now: datetime, *, hours: int = 72, by: int | None = None) -> str:
    """Return the token of a one-time link; earlier links of the same person that nobody used stop working."""
    person(s, user_id)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    s.execute(delete(LoginToken).where(LoginToken.user_id == user_id, LoginToken.used_at.is_(None)))
    s.add(LoginToken(hash=_hash(token), user_id=user_id, created=now, expires=now + timedelta(hours=hours)))
    note(s, now, by, "user.invited", f"user/{user_id}", {"hours": hours})
    return token


def redeem(s: Session, token: str, now: datetime) -> SessionKeys | None:
    """Log in with a one-time link: a new session, or None where the token is unknown, used, too old, or the account closed."""
    mine = (LoginToken.hash == _hash(token), LoginToken.used_at.is_(None), LoginToken.expires > now)
    user_id = s.scalar(update(LoginToken).where(*mine).values(used_at=now).returning(LoginToken.user_id))
    if user_id is None or not person(s, user_id).active:
        return None
    session = secrets.token_urlsafe(_TOKEN_BYTES)
    moments = {"created": now, "last_seen": now, "expires": now + LONGEST_SESSION}
    s.add(LoginSession(hash=_hash(session), user_id=user_id, **moments))
    note(s, now, user_id, "user.logged_in", f"user/{user_id}", {})
    return SessionKeys(session, _csrf(session))


def account(s: Session, session: str, now: datetime) -> Account | None:
    """Return who is logged in; None after 12 hours without a request, after 7 days, and after logging out.

    A clock set back by up to a day ends no session.
    """
    login = s.execute(_SIGNED_IN, {"hash": _hash(session)}).one_or_none()
    if login is None:
        return None
    if now >= login.expires or now - login.last_seen >= IDLE or login.created - now > CLOCK_SLACK:
        return None
    stale = abs(now - login.last_seen) >= _SEEN_EVERY
    return Account(login.user_id, login.name, login.role, _csrf(session), stale)


def touch(s: Session, session: str, now: datetime) -> None:
    """Remember that a session was used; does nothing where the last time is less than a minute ago."""
    s.execute(
        update(LoginSession)
        .where(
            LoginSession.hash == _hash(session),
            (LoginSession.last_seen <= now - _SEEN_EVERY) | (LoginSession.last_seen >= now + _SEEN_EVERY),
        )
        .values(last_seen=now)
    )


def log_out(s: Session, session: str) -> None:
    """End one session."""
    s.execute(delete(LoginSession).where(LoginSession.hash == _hash(session)))


def log_out_everywhere(s: Session, user_id: int) -> None:
    """End all sessions of a person."""
    s.execute(delete(LoginSession).where(LoginSession.user_id == user_id))


def _person(user: User) -> Person:
    return Person(user.id, user.name, user.role, user.active)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _csrf(session: str) -> str:
    """Return the form token of a session: worked out from its secret, so that the database need not hold it."""
    return _hash(f"csrf/{session}")
