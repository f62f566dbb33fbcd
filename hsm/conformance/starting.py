"""Checks of the library's life: threads, logins, sessions, restarts, forks, PINs."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time

from pkcs11 import Attribute, Mechanism, ObjectClass

from hsm.conformance.bench import GENERIC, Bench, refused
from hsm.conformance.check import DoesNotHold, check, must
from hsm.cryptoki.library import Refused
from hsm.cryptoki.session import Session

A = Attribute
SHA512_HMAC = Mechanism.SHA512_HMAC
THREADS, TURNS = 4, 200
TEXT = b"conformance"


def signing_key(bench: Bench, value: bytes) -> int:
    return bench.key(value, GENERIC, A.SIGN)


@check("Trap 1: two threads in a library that was told of one crash it or hang it.")
def threads_sign_rightly_with_os_locking(bench: Bench) -> str | None:
    wrong: list[str] = []

    def work(session: Session, key: int, value: bytes) -> None:
        try:
            for turn in range(TURNS):
                text = turn.to_bytes(4, "big")
                if session.sign(SHA512_HMAC, key, text) != hmac.digest(value, text, "sha512"):
                    wrong.append(f"turn {turn}: a wrong signature")
        except Refused as error:
            wrong.append(str(error))

    sessions = [bench.open() for _ in range(THREADS)]
    values = [secrets.token_bytes(64) for _ in sessions]
    keys = [
        session.create(bench.template(GENERIC, A.SIGN, VALUE=value))
        for session, value in zip(sessions, values, strict=True)
    ]
    threads = [
        threading.Thread(target=work, args=job) for job in zip(sessions, keys, values, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    must(not wrong, f"{len(wrong)} of {THREADS * TURNS}: {wrong[:1]}")
    return f"{THREADS * TURNS} signatures by {THREADS} threads"


@check("Worker threads carry no PIN: one anchor session logs in for all.")
def a_login_counts_for_every_session(bench: Bench) -> None:
    session = bench.open()
    key = session.create(bench.template(GENERIC, A.SIGN, VALUE=bytes(64)))
    session.sign(SHA512_HMAC, key, TEXT)
    session.close()


@check("Each worker thread has a session of its own: as many as the profile says.")
def there_are_sessions_for_every_worker(bench: Bench) -> str | None:
    sessions: list[Session] = []
    try:
        for _ in range(bench.profile.worker_threads + 4):
            sessions.append(bench.open())
    finally:
        for session in sessions:
            session.close()
    return f"{len(sessions)} at once"


@check("Trap 4: the anchor's fall must take the keys along, not leave them to whoever is next.")
def logout_ends_private_session_keys(bench: Bench) -> None:
    key = signing_key(bench, bytes(64))
    bench.session.logout()
    hidden = refused(bench.session.sign, SHA512_HMAC, key, TEXT)
    bench.log_in_again()
    must(hidden is not None, "the key signs without a login")
    must(
        refused(bench.session.sign, SHA512_HMAC, key, TEXT) is not None,
        "the key is back after the next login",
    )


@check("Whoever has the library and no PIN must not even see our keys.")
def private_objects_are_seen_by_the_login_alone(bench: Bench) -> None:
    bench.session.create({**bench.template(GENERIC, A.SIGN, VALUE=bytes(64)), **bench.stored()})
    wanted = {A.CLASS: ObjectClass.SECRET_KEY, A.TOKEN: True}
    bench.session.logout()
    seen = bench.session.find(wanted)
    bench.log_in_again()
    must(not seen, f"{len(seen)} secret keys are seen without a login")
    must(bool(bench.session.find(wanted)), "not even with a login")


@check("A worker's session keys must not outlive its session.")
def session_keys_end_with_their_session(bench: Bench) -> None:
    session = bench.open()
    key = session.create(bench.template(GENERIC, A.SIGN, VALUE=bytes(64)))
    session.close()
    must(
        refused(bench.session.sign, SHA512_HMAC, key, TEXT) is not None,
        "the key lives on in another session",
    )


@check("Trap 5: tenant A's old handle signs with tenant B's key. Where it does, the canary guards.")
def handles_are_not_used_again_after_a_restart(bench: Bench) -> None:
    bench.start_again()  # so that the old handle is a low one, as a daemon's are
    old = signing_key(bench, secrets.token_bytes(64))
    bench.start_again()
    keys = [signing_key(bench, secrets.token_bytes(64)) for _ in range(64)]
    must(old not in keys, f"handle {old} names another key now")


@check("Trap 5, its other half: an old session must not become a new one's.")
def sessions_are_not_used_again_after_a_restart(bench: Bench) -> None:
    old = bench.session
    bench.start_again()
    done = refused(old.get, signing_key(bench, bytes(64)), A.KEY_TYPE)
    must(done is not None, f"session {old.handle} answers after C_Finalize")


@check("Trap 6: a forked child must not sign with what its parent logged in to. We never fork.")
def a_forked_child_is_refused(bench: Bench) -> str | None:
    key = signing_key(bench, bytes(64))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            bench.session.sign(SHA512_HMAC, key, TEXT)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        raise DoesNotHold("the child signs with its parent's key")
    return None


@check("Running daemons find a new tenant's keys, made by a ceremony, without a restart.")
def what_another_process_makes_is_found(bench: Bench) -> str | None:
    bench.session.find({A.LABEL: "before"})
    label = bench.visited()
    started = time.monotonic()
    while not bench.session.find({A.LABEL: label}):
        must(time.monotonic() - started < 5, "not within 5 s")
        time.sleep(0.05)
    return f"after {time.monotonic() - started:.2f} s"


@check("A refused PIN ends the daemon for good (status 78); a dead token is tried again.")
def a_wrong_pin_is_named(bench: Bench) -> str | None:
    said = bench.wrong_pins(1)
    bench.log_in_again()
    must(said == "CKR_PIN_INCORRECT", f"it says {said}")
    return None


@check("Trap 7: a real token locks after a few wrong PINs, which is why we never try again.")
def wrong_pins_lock_the_token(bench: Bench) -> str | None:
    tries = bench.profile.pin_tries or 12
    said = bench.wrong_pins(tries)
    locked = refused(bench.log_in_again)
    must(locked is not None, f"after {tries} wrong PINs the right one is taken")
    return f"after {tries}: {said}"
