"""Who owns a job is in its id, for every web server with the same keys to see."""

from __future__ import annotations

import hashlib

from imagequeue.job import ID_LENGTH
from imagequeue.web.keys import ApiKeys
from imagequeue.web.owner import EVERYBODY, NONCE_LENGTH, Owner, without_host
from tests.web.test_keys import request_with

OLD, NEW, OTHER = ("alice", "alices-old-key"), ("alice", "alices-new-key"), ("bob", "bobs-key")


def owner(keys: list[tuple[str, str]], key: str, **options: list[str]) -> Owner:
    return ApiKeys(keys, **options).owner_of(request_with(X_API_Key=key))


def test_an_owner_owns_what_it_sends_on_every_server_with_the_same_keys_and_nobody_else_does() -> None:
    keys = [OLD, OTHER]
    alice, bob = owner(keys, OLD[1]), owner(keys, OTHER[1])
    ids = [alice.new_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert {len(job_id) for job_id in ids} == {ID_LENGTH}
    assert all(set(job_id) <= set("0123456789abcdef") for job_id in ids)
    elsewhere = owner([OTHER, OLD], OLD[1])
    assert all(alice.owns(job_id) and elsewhere.owns(job_id) for job_id in ids)
    assert not any(bob.owns(job_id) for job_id in ids)
    assert not alice.owns(EVERYBODY.new_id())


def test_an_id_with_another_digit_is_nobodys() -> None:
    alice = owner([OLD], OLD[1])
    job_id = alice.new_id()
    for place in range(ID_LENGTH):
        digit = "0" if job_id[place] != "0" else "1"
        assert not alice.owns(job_id[:place] + digit + job_id[place + 1 :]), place
    for odd in ("", job_id[:-1], job_id + "0", job_id[:-1] + "٣"):
        assert not alice.owns(odd)


def test_while_the_old_and_the_new_key_are_listed_each_owns_the_jobs_of_both() -> None:
    before, during, after = [OLD], [OLD, NEW], [NEW]
    sent = owner(before, OLD[1]).new_id()
    by_old, by_new = owner(during, OLD[1]).new_id(), owner(during, NEW[1]).new_id()
    for key in (OLD[1], NEW[1]):
        assert all(owner(during, key).owns(job_id) for job_id in (sent, by_old, by_new))
    # Servers that have one of the keys only, while the list is being changed.
    assert owner(before, OLD[1]).owns(by_old)
    assert owner(after, NEW[1]).owns(by_new)


def test_a_name_cannot_be_tested_against_an_id() -> None:
    job_id = owner([OLD], OLD[1]).new_id()
    namesake = owner([("alice", "of-another-service")], "of-another-service")
    assert not namesake.owns(job_id)
    nonce, tag = job_id[:NONCE_LENGTH], job_id[NONCE_LENGTH:]
    for guess in ("alice", f"alice{nonce}", f"{nonce}alice", f"alice:{nonce}"):
        assert not hashlib.sha256(guess.encode()).hexdigest().startswith(tag)


def test_an_admin_owns_everybodys_and_so_does_everybody_where_no_key_is_required() -> None:
    admin = owner([OLD, OTHER], OTHER[1], admins=["bob"])
    job_id = owner([OLD, OTHER], OLD[1]).new_id()
    assert admin.owns(job_id)
    assert owner([OLD, OTHER], OLD[1], admins=["bob"]).owns(admin.new_id()) is False
    assert EVERYBODY.owns(job_id)


def test_no_dump_of_an_owner_shows_what_its_tags_are_made_with() -> None:
    alice = owner([OLD], OLD[1])
    assert repr(alice.tag_secrets[0]) not in repr(alice)


def test_of_a_process_only_the_random_end_of_its_id_is_left() -> None:
    assert without_host("web:host.example:4711:1a2b3c4d") == "1a2b3c4d"
    assert without_host("[fe80::1]:7:5a3f00000000") == "5a3f0000"
    assert without_host("") == ""
