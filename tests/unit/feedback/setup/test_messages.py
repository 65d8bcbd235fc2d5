"""What managers write reaches whom it is for, and nobody else."""

from __future__ import annotations

import pytest

from heedful.errors import DataError, NotFound
from heedful.feedback.setup import accounts, messages
from heedful.feedback.store.database import Database
from heedful.feedback.store.journal import entries
from tests.unit.feedback.room import Room


@pytest.fixture
def room(database: Database) -> Room:
    return Room(database)


def boss(room: Room) -> int:
    return room.database.write(lambda s: accounts.add_user(s, "boss", "manager", room.now))


def send(room: Room, name: str, text: str, by: int | None = None) -> int:
    return room.database.write(lambda s: messages.send_message(s, room.project, room.ids[name], text, room.now, by=by))


def unread(room: Room, name: str) -> list[str]:
    found = room.database.read(lambda s: messages.unread(s, room.project, room.ids[name]))
    return [each.text for each in found]


def test_a_message_reaches_one_person(room: Room) -> None:
    manager = boss(room)
    number = send(room, "anna", "  Please mark nonsense F.\n", by=manager)
    assert unread(room, "anna") == ["Please mark nonsense F."]
    assert unread(room, "ben") == []
    (stored,) = room.database.read(lambda s: messages.messages_to(s, room.project, room.ids["anna"]))
    assert (stored.id, stored.sender, stored.created, stored.read_at) == (number, "boss", room.now, None)
    (line,) = room.database.read(lambda s: entries(s, kind="message.sent"))
    assert (line.actor, line.subject) == (manager, f"project/{room.project}/user/{room.ids['anna']}")


def test_reading_is_remembered_once_and_only_for_oneself(room: Room) -> None:
    number = send(room, "anna", "hello")
    with pytest.raises(NotFound, match="no such message"):
        room.database.write(lambda s: messages.mark_read(s, number, room.ids["ben"], room.now))
    assert unread(room, "anna") == ["hello"]
    first = room.now
    for _ in range(2):
        room.database.write(lambda s: messages.mark_read(s, number, room.ids["anna"], room.now))
        room.wait(minutes=5)
    (stored,) = room.database.read(lambda s: messages.messages_to(s, room.project, room.ids["anna"]))
    assert (unread(room, "anna"), stored.read_at) == ([], first)


def test_all_at_once(room: Room) -> None:
    room.ids["cleo"] = room.add_labeler("cleo")
    room.set_state("ben", "excluded")
    room.set_state("cleo", "paused")
    written = room.database.write(lambda s: messages.send_to_all(s, room.project, "new rules", room.now, by=None))
    assert written == 2
    assert [unread(room, name) for name in ("anna", "ben", "cleo")] == [["new rules"], [], ["new rules"]]
    room.database.write(lambda s: messages.mark_all_read(s, room.project, room.ids["anna"], room.now))
    assert [unread(room, name) for name in ("anna", "cleo")] == [[], ["new rules"]]


def test_order_and_number(room: Room) -> None:
    for number in range(23):
        send(room, "anna", f"message {number}")
    assert unread(room, "anna") == [f"message {number}" for number in range(23)]
    latest = room.database.read(lambda s: messages.messages_to(s, room.project, room.ids["anna"]))
    assert [each.text for each in latest] == [f"message {number}" for number in range(22, 2, -1)]


@pytest.mark.parametrize("text", ["", " \n", "x" * 2001, "\ud800"])
def test_texts_are_checked(room: Room, text: str) -> None:
    with pytest.raises(DataError, match="text"):
        send(room, "anna", text)
    assert unread(room, "anna") == []


def test_a_text_as_long_as_it_may_be_and_hostile_comes_back_as_it_was(room: Room) -> None:
    text = ("<script>\x00\u202e" * 300)[:1999] + "!"
    send(room, "anna", text)
    assert unread(room, "anna") == [text]


def test_strangers_get_nothing(room: Room) -> None:
    stranger = boss(room)
    with pytest.raises(NotFound, match="no such member"):
        room.database.write(lambda s: messages.send_message(s, room.project, stranger, "hello", room.now, by=None))
    with pytest.raises(NotFound, match="nobody"):
        room.database.write(lambda s: messages.send_to_all(s, 10**6, "hello", room.now, by=None))
