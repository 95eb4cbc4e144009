"""Tokens are long, stored as hashes, shown once, and end when they are revoked or expire."""

import threading

import pytest
import sqlalchemy as sa

from regen.core.errors import ConfigError
from regen.preferences import people
from regen.preferences.people import DAY_MS, SESSION_MS
from regen.preferences.refusals import ConflictError, NotFoundError, TokenError
from regen.preferences.tables import METADATA, Role


def test_a_token_opens_what_its_role_says(file_store):
    token = people.add(file_store, "ada", Role.ADMIN)

    person = people.of_token(file_store, token)

    assert (person.name, person.role) == ("ada", Role.ADMIN)


def test_a_token_has_more_than_128_bits_and_none_is_like_another(file_store):
    tokens = {people.add(file_store, f"p{i}") for i in range(20)}

    assert len(tokens) == 20
    assert all(len(token) >= 32 for token in tokens)  # 6 bits a character


def test_no_secret_is_stored(file_store):
    token = people.add(file_store, "ada")
    secret = people.log_in(file_store, token)

    with file_store.read() as connection:
        stored = " ".join(
            str(value)
            for table in METADATA.sorted_tables
            for row in connection.execute(sa.select(table))
            for value in row
        )

    assert people.digest(token) in stored
    assert token not in stored
    assert secret not in stored


def test_an_unknown_token_is_refused(file_store):
    with pytest.raises(TokenError, match="unknown, expired or revoked"):
        people.of_token(file_store, "nobody's")


def test_a_revoked_token_ends_with_its_sessions(file_store):
    token = people.add(file_store, "ada")
    secret = people.log_in(file_store, token)

    people.revoke(file_store, "ada")

    assert people.session_of(file_store, secret) is None
    with pytest.raises(TokenError, match="revoked"):
        people.log_in(file_store, token)


def test_a_token_expires(file_store, clock):
    token = people.add(file_store, "ada", days=2)
    clock.pass_ms(2 * DAY_MS - 1)
    secret = people.log_in(file_store, token)

    clock.pass_ms(1)

    assert people.session_of(file_store, secret) is None
    with pytest.raises(TokenError, match="expired"):
        people.of_token(file_store, token)


def test_a_token_may_last_for_ever(file_store, clock):
    token = people.add(file_store, "ada", days=None)

    clock.pass_ms(10_000 * DAY_MS)

    assert people.of_token(file_store, token).name == "ada"


def test_a_session_ends_after_its_time(file_store, clock):
    secret = people.log_in(file_store, people.add(file_store, "ada"))
    assert people.session_of(file_store, secret).person.name == "ada"

    clock.pass_ms(SESSION_MS)

    assert people.session_of(file_store, secret) is None


def test_logging_out_ends_one_session_alone(file_store):
    token = people.add(file_store, "ada")
    one, other = people.log_in(file_store, token), people.log_in(file_store, token)

    people.log_out(file_store, one)

    assert people.session_of(file_store, one) is None
    assert people.session_of(file_store, other) is not None


def test_sessions_have_different_form_secrets(file_store):
    token = people.add(file_store, "ada")

    sessions = [people.session_of(file_store, people.log_in(file_store, token)) for _ in range(2)]

    assert sessions[0].csrf != sessions[1].csrf


@pytest.mark.parametrize("name", ["", "a b", "<script>", "ä", "a" * 65, ".hidden", "a\x00"])
def test_a_name_of_other_characters_is_refused(file_store, name):
    with pytest.raises(ConfigError, match="a name is up to 64 letters"):
        people.add(file_store, name)


def test_a_name_is_given_once(store):
    people.add(store, "ada")

    with pytest.raises(ConflictError, match="an annotator ada already"):
        people.add(store, "ada")


def test_of_two_who_take_a_name_at_once_one_is_told(store):
    results, barrier = [], threading.Barrier(2)

    def take() -> None:
        barrier.wait()
        try:
            results.append(people.add(store, "ada"))
        except ConflictError as error:
            results.append(error)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(isinstance(result, str) for result in results) == [False, True]
    assert len(people.everyone(store)) == 1


def test_nobody_is_revoked_who_is_not_there(file_store):
    with pytest.raises(NotFoundError, match="no annotator eve"):
        people.revoke(file_store, "eve")


def test_revoking_twice_keeps_the_first_time(file_store, clock):
    people.add(file_store, "ada")
    people.revoke(file_store, "ada")
    first = people.everyone(file_store)[0].revoked

    clock.pass_ms(5)
    people.revoke(file_store, "ada")

    assert people.everyone(file_store)[0].revoked == first
