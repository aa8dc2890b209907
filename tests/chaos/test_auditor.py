"""The auditor notices: each check is given a history that is broken in one way, and one that is not."""

import random
from dataclasses import replace

import pytest
from auditor import (
    check_audited,
    check_kept,
    check_points,
    check_slots,
    check_stored,
    unnamed_photos,
    unprojected,
    violations_counted,
)
from history import History, Match, Slot
from killer import rounds
from stored import ERASED, StoredPoint, StoredRecord, in_log, read_point, read_record, requests_of_batch
from wire import Damaged, Message, encoded

TENANT = "first"


def broken(history: History) -> set[str]:
    """The invariants that are said to be broken."""
    return {violation.id for violation in history.violations}


def answered(matches: list[Match], faces_max: int = 10, threshold: float = 80.0) -> set[str]:
    """What a search's answer breaks, where the face `gone` was deleted before it."""
    history = History()
    history.is_deleted("gone")
    history.answered(history.asks(TENANT, faces_max, threshold), "request", matches)
    assert {"I1", "I3", "I6"} <= set(history.checks)
    return broken(history)


@pytest.mark.parametrize(
    ("matches", "breaks"),
    [
        ([], set()),
        ([Match("a", "first-1", 99.0), Match("b", "first-2", 80.0)], set()),
        ([Match("a", "second-1", 99.0)], {"I1"}),
        ([Match("a", "", 99.0)], {"I1"}),
        ([Match("gone", "first-1", 99.0)], {"I3"}),
        ([Match("a", "first-1", 90.0), Match("b", "first-2", 91.0)], {"I6"}),
        ([Match("a", "first-1", 79.9)], {"I6"}),
        ([Match(str(n), "first-1", 99.0) for n in range(11)], {"I6"}),
    ],
)
def test_an_answer_is_checked(matches, breaks) -> None:
    assert answered(matches) == breaks


def test_what_is_deleted_while_a_search_runs_may_match() -> None:
    history = History()
    asked = history.asks(TENANT, 10, 80.0)
    history.is_deleted("gone")
    history.answered(asked, "request", [Match("gone", "first-1", 99.0)])
    assert not history.violations


def test_versions_may_only_grow() -> None:
    history = History()
    known = history.saw_versions({}, {"a": 5, "b": 7})
    known = history.saw_versions(known, {"a": 5})
    known = history.saw_versions(known, {"a": 6, "b": 7})
    assert not history.violations
    history.saw_versions(known, {"a": 6, "b": 6})
    assert broken(history) == {"I5"}


def test_what_a_killed_index_brings_back_must_catch_up() -> None:
    history = History()
    known = history.saw_versions(history.saw_versions({}, {"a": 5}), {"a": 4}, may_lag=True)
    assert (history.violations, history.lags) == ([], 1)
    history.saw_versions(known, {"a": 5})
    assert not history.violations
    history.saw_versions(known, {"a": 4})
    assert broken(history) == {"I5"}


def test_it_is_known_when_the_last_answered_search_was_asked() -> None:
    history = History()
    first, second = history.asks(TENANT, 10, 80.0), history.asks(TENANT, 10, 80.0)
    history.answered(second, "b", [])
    history.answered(first, "a", [])
    assert history.last_search_asked == second.at


@pytest.mark.parametrize(
    ("listed", "matched", "breaks"),
    [
        ({"live": "first-1"}, {"live"}, set()),
        ({}, set(), {"I2"}),
        ({"live": "first-1"}, set(), {"I2", "I4"}),
        ({"live": "first-1", "twin": "first-1"}, {"live", "twin"}, {"I3", "I4"}),
        ({"live": "first-1", "old": "first-2"}, {"live", "old"}, {"I3"}),
        ({"live": "first-1", "new": "first-2"}, {"live", "new"}, {"I3"}),
        ({"live": "first-1"}, {"live", "old"}, {"I3", "I4"}),
        ({"live": "first-1", "x": "first-9"}, {"live", "x"}, {"I4"}),
    ],
)
def test_slots_are_checked(listed, matched, breaks) -> None:
    history = History()
    history.slots[TENANT] = [Slot("first-1", live="live"), Slot("first-2", deleted={"old"})]
    check_slots(history, TENANT, listed, matched)
    assert broken(history) == breaks


def test_an_answer_without_its_audit_record_is_noticed() -> None:
    history = History()
    for request in ("one", "two"):
        history.answered(history.asks(TENANT, 10, 80.0), request, [])
    check_audited(history, {"one", "two", "three"})
    assert not history.violations
    check_audited(history, {"one", "three"})
    assert broken(history) == {"I8"}


def record(**changes) -> StoredRecord:
    """A sound record of one live face."""
    sound = {
        "key": "part/records/image",
        "part": "part",
        "name": "first-1",
        "image": "image",
        "state": 2,
        "photo": "photo",
        "photos_to_remove": (),
        "live": ("face",),
        "erased_with_template": (),
        "versions": {"face": 9},
    }
    return StoredRecord(**{**sound, **changes})


@pytest.mark.parametrize(
    ("records", "photos", "breaks"),
    [
        ([record()], {"photo", "of an attempt that died"}, set()),
        ([record(state=ERASED, live=(), photo=None, photos_to_remove=("old",))], set(), set()),
        ([record(), record(key="another")], {"photo"}, {"I4"}),
        ([record()], set(), {"I2"}),
        ([record(state=ERASED, live=(), photo=None, photos_to_remove=("old",))], {"old"}, {"I9"}),
        ([record(state=ERASED, live=())], {"photo"}, {"I9"}),
        ([record(erased_with_template=("face",))], {"photo"}, {"I9"}),
    ],
)
def test_what_is_stored_is_checked(records, photos, breaks) -> None:
    history = History()
    check_stored(history, records, photos)
    assert broken(history) == breaks


LIVE = StoredPoint(9, is_erased=False, has_vector=True, fields=frozenset({"part"}))
GONE = StoredPoint(9, is_erased=True, has_vector=False)


@pytest.mark.parametrize(
    ("point", "breaks"),
    [
        (LIVE, set()),
        (GONE, set()),
        (replace(LIVE, has_vector=False), {"I2"}),
        (replace(GONE, has_vector=True), {"I9"}),
        (replace(GONE, fields=frozenset({"part"})), {"I9"}),
    ],
)
def test_points_are_checked(point, breaks) -> None:
    history = History()
    check_points(history, {"face": point})
    assert broken(history) == breaks


@pytest.mark.parametrize(
    ("records", "points", "differ"),
    [
        ([record()], {"face": LIVE}, 0),
        ([record(live=())], {"face": GONE}, 0),
        ([record()], {}, 1),
        ([record()], {"face": GONE}, 1),
        ([record()], {"face": replace(LIVE, version=8)}, 1),
        ([record(live=())], {"face": LIVE}, 1),
        ([record()], {"face": LIVE, "of no record": GONE}, 1),
    ],
)
def test_what_is_not_projected_is_noticed(records, points, differ) -> None:
    assert len(unprojected(records, points)) == differ


@pytest.mark.parametrize(
    ("slot", "breaks"),
    [
        (Slot("first-1", live="face", deleted={"old"}), set()),
        (Slot("first-1", live="lost"), {"I10"}),
        (Slot("first-1", live="lost", pending="delete"), set()),
        (Slot("first-1", deleted={"face"}), {"I10"}),
    ],
)
def test_what_ending_lost_is_noticed(slot, breaks) -> None:
    history = History()
    history.slots[TENANT] = [slot]
    check_kept(history, [record()])
    assert broken(history) == breaks


def test_what_lies_in_the_log_is_found(tmp_path) -> None:
    segment = tmp_path / "broker-0/chaos.changes-0/0.log"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"...a piece...")
    assert in_log(tmp_path, {b"a piece", b"another"}) == {b"a piece"}


def test_points_are_read_from_their_bytes() -> None:
    vector = encoded([(2, encoded([(1, encoded([(1, b"face"), (2, encoded([(1, b"1234")]))]))]))])
    payload = {"version": Message(encoded([(3, 7)]))}
    live, mark = payload | {"part": Message(b"")}, payload | {"dead_part": Message(b""), "erased_at": Message(b"")}
    assert read_point(Message(encoded([(4, vector)])), live) == StoredPoint(7, False, True, frozenset({"part"}))
    assert read_point(Message(encoded([(4, b"")])), mark) == StoredPoint(7, True, False)


def test_photos_that_no_record_names_are_found() -> None:
    assert unnamed_photos([record()], {"photo", "another"}) == {"another"}


def test_a_process_that_counts_a_violation_is_noticed() -> None:
    page = '# TYPE x counter\nvidimus_invariant_violations_total{id="I6"} 0\nvidimus_searches_total 7\n'
    assert violations_counted(page) == {}
    assert violations_counted(page.replace("} 0", "} 2")) == {'id="I6"': 2.0}


def test_records_and_batches_are_read_from_their_bytes() -> None:
    image = bytes(range(14)) + b"\0\0"
    photo = encoded([(1, b"2026-01-02"), (2, bytes(16))])
    erased = encoded([(1, 1), (2, 9), (5, 77)])
    with_template = encoded([(1, 2), (2, 9), (5, 77), (6, b"")])
    live = encoded([(1, 3), (2, 9), (6, b"")])
    fields = [(1, 1), (4, image), (6, b"first-1"), (7, 2), (10, photo), (12, erased), (12, with_template), (12, live)]
    read = read_record("tenants/t/collections/c/records/x", encoded(fields))
    name = "00010203-0405-0607-0809-0a0b0c0d"
    assert read.photo == f"tenants/t/collections/c/photos/2026-01-02/{name}0000-{'0' * 32}"
    assert (read.name, read.state, read.live) == ("first-1", 2, (f"{name}0003",))
    assert read.erased_with_template == (f"{name}0002",)
    assert read.versions == {f"{name}000{number}": 9 for number in (1, 2, 3)}
    batch = encoded([(1, 1), (6, encoded([(5, b"one")])), (6, encoded([(5, b"two")]))])
    assert requests_of_batch(batch) == ["one", "two"]


def test_bytes_that_are_no_message_are_refused() -> None:
    whole = encoded([(1, 300), (2, b"content")])
    assert Message(whole).number(1) == 300 and Message(whole).text(2) == "content"
    with pytest.raises(Damaged):
        Message(whole[:-1])
    for _ in range(1000):
        data = random.randbytes(20)
        try:
            Message(data)
        except Damaged:
            pass


def test_strikes_repeat_by_their_seed_and_spare_nobody() -> None:
    names = ["gateway-0", "query-0", "query-1", "kafka", "s3"]
    first = list(rounds(names, 40, seed=7))
    assert first == list(rounds(names, 40, seed=7)) != list(rounds(names, 40, seed=8))
    strikes = [strike for round in first for strike in round.strikes]
    assert len(strikes) == 40
    assert {strike.victim for strike in strikes[:5]} == set(names)
    assert {strike.how for strike in strikes} == {"kill", "stop"}
    assert all(len({strike.victim for strike in round.strikes}) == len(round.strikes) for round in first)
