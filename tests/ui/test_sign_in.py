"""Who comes in, how often they may try, and when their sessions end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from blueprints import account
from blueprints.account import HOME, own_path
from lib import passwords
from models import db
from services import team
from tests.people import PASSWORD, Somebody
from tests.ui.browser import Browser


@pytest.fixture
def quick_attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the one address of all tests try as often as they like; a single account may not."""
    monkeypatch.setattr(account, "ATTEMPTS", (("pair", 5), ("account", 8)))
    return


def test_a_person_signs_in_and_finds_their_inbox(browser: Browser, alice: Somebody) -> None:
    answer = browser.sign_in(alice.email)
    assert (answer.status_code, answer.location) == (303, HOME)
    assert "My inbox" in browser.get(HOME).text


def test_the_address_may_be_written_in_capitals(browser: Browser, alice: Somebody) -> None:
    assert browser.sign_in(alice.email.upper()).status_code == 303


@pytest.mark.parametrize("email", ["nobody@example.com", "not an address", "", "'; DROP TABLE users; --"])
def test_an_unknown_address_and_a_wrong_password_get_the_same_sentence(
    browser: Browser, alice: Somebody, email: str
) -> None:
    wrong = browser.sign_in(alice.email, "wrong password")
    unknown = browser.sign_in(email)
    sentence = "Email and password do not match an active account"
    assert wrong.status_code == unknown.status_code == 422
    assert sentence in wrong.text
    assert sentence in unknown.text


def test_a_deactivated_person_stays_out_and_their_sessions_end(
    browser: Browser, alice: Somebody, bob: Somebody
) -> None:
    browser.sign_in(bob.email)
    team.deactivate(alice.business, bob.user)
    db.session.commit()
    assert browser.get(HOME).location.startswith("/login")
    assert browser.sign_in(bob.email).status_code == 422


def test_a_changed_password_ends_every_other_session(app: Flask, bob: Somebody) -> None:
    here, there = Browser(app), Browser(app)
    here.sign_in(bob.email)
    there.sign_in(bob.email)
    answer = here.post("/me/password", current=PASSWORD, password="a new one, much longer")
    assert answer.status_code == 303
    assert here.get(HOME).status_code == 200
    assert there.get(HOME).status_code == 302
    assert there.sign_in(bob.email).status_code == 422
    assert there.sign_in(bob.email, "a new one, much longer").status_code == 303


def test_a_new_password_needs_the_current_one_and_must_not_be_weak(browser: Browser, bob: Somebody) -> None:
    browser.sign_in(bob.email)
    assert (
        "not your current password" in browser.post("/me/password", current="guess", password="long enough it is").text
    )
    assert "at least 10" in browser.post("/me/password", current=PASSWORD, password="short").text
    assert "too easy" in browser.post("/me/password", current=PASSWORD, password=bob.email).text


def test_signing_out_ends_the_session_and_only_a_post_does_it(browser: Browser, bob: Somebody) -> None:
    browser.sign_in(bob.email)
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout").status_code == 303
    assert browser.get(HOME).status_code == 302


def test_a_cookie_that_was_copied_ends_with_its_session_and_no_other_does(app: Flask, bob: Somebody) -> None:
    here, elsewhere = Browser(app), Browser(app)
    for browser in (here, elsewhere):
        browser.sign_in(bob.email)
    cookie = here.client.get_cookie("alc_session")
    assert cookie
    here.post("/logout")
    here.client.set_cookie("alc_session", cookie.value)  # as the answer to another tab does that was under way
    assert here.get("/inbox/mine").status_code == 302
    assert elsewhere.get("/inbox/mine").status_code == 200


@pytest.mark.usefixtures("quick_attempts")
def test_guessing_one_account_is_stopped_with_a_sentence_that_helps(browser: Browser, bob: Somebody) -> None:
    answers = [browser.sign_in(bob.email, f"guess {number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert "Too many attempts. Wait" in answers[-1].text
    assert "ask an admin" in answers[-1].text
    assert browser.sign_in(bob.email).status_code == 429  # even with the right one


@pytest.mark.usefixtures("quick_attempts")
def test_a_made_up_forwarding_header_opens_no_new_attempts(app: Flask, bob: Somebody) -> None:
    browser = Browser(app)
    token = browser.token()
    codes = [
        browser.client.post(
            "/login",
            data={"email": bob.email, "password": "guess", "csrf_token": token},
            headers={"X-Forwarded-For": f"10.0.0.{number}", "X-Real-IP": f"10.1.0.{number}"},
        ).status_code
        for number in range(6)
    ]
    assert codes[-1] == 429


def test_a_form_without_its_token_is_refused(browser: Browser, bob: Somebody) -> None:
    assert browser.client.post("/login", data={"email": bob.email, "password": PASSWORD}).status_code == 400
    browser.sign_in(bob.email)
    for path in ("/logout", "/me", "/me/password", "/me/preferences", "/inbox/uploads", "/inbox/c/1/send"):
        assert browser.client.post(path).status_code == 400, path


def test_the_token_of_one_session_is_nothing_in_another(app: Flask, bob: Somebody, alice: Somebody) -> None:
    mine, other = Browser(app), Browser(app)
    mine.sign_in(bob.email)
    other.sign_in(alice.email)
    answer = mine.client.post("/me", data={"name": "Robert", "csrf_token": other.token("/me")})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/%0d%0aLocation:%20https://evil.example\r\nX: y",
        "inbox/mine",
        "/login?next=/login",
        "/logout",
        "http:/evil.example",
        "///evil.example",
        "/\x00//evil.example",
    ],
)
def test_after_the_sign_in_nobody_is_sent_to_another_place(browser: Browser, bob: Somebody, wanted: str) -> None:
    assert own_path(wanted) == HOME or own_path(wanted).startswith("/%0d")
    answer = browser.sign_in(bob.email, next=wanted)
    assert answer.location.startswith("/")
    assert not answer.location.startswith(("//", "/\\"))
    assert "evil" not in answer.location or answer.location.startswith("/%0d%0a")


def test_who_came_by_a_link_is_sent_on_to_it(browser: Browser, bob: Somebody) -> None:
    asked = browser.get("/inbox/all?q=refund")
    assert asked.location == "/login?next=/inbox/all?q%3Drefund"
    assert 'name="next" value="/inbox/all?q=refund"' in browser.get(asked.location).text
    assert browser.sign_in(bob.email, next="/inbox/all?q=refund").location == "/inbox/all?q=refund"


def test_a_screen_whose_session_is_over_is_told_so_and_signs_in_over_the_page(browser: Browser, bob: Somebody) -> None:
    fragment = {"HX-Request": "true"}
    assert browser.get(HOME, **fragment).status_code == 401
    form = browser.get("/login", **fragment).text
    assert form.lstrip().startswith("<form")
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token
    answer = browser.client.post(
        "/login", data={"email": bob.email, "password": PASSWORD, "csrf_token": token[1]}, headers=fragment
    )
    assert answer.status_code == 204
    assert "signed-in" in answer.headers["HX-Trigger"]


def test_an_agent_is_told_whom_to_ask_for_the_settings(browser: Browser, alice: Somebody, bob: Somebody) -> None:
    browser.sign_in(bob.email)
    answer = browser.get("/settings/api-access")
    assert answer.status_code == 403
    assert alice.user.name in answer.text


def test_pages_for_people_are_kept_by_no_cache_and_framed_by_nobody(browser: Browser, bob: Somebody) -> None:
    browser.sign_in(bob.email)
    headers = browser.get(HOME).headers
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "HX-Request" in headers["Vary"]


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(client: FlaskClient) -> None:
    cookie = client.get("/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_password_is_hashed_and_the_longest_ones_cost_no_more() -> None:
    hashed = passwords.hash("correct horse battery")
    assert hashed.startswith("$argon2id$")
    assert passwords.verify(hashed, "correct horse battery")
    assert not passwords.verify(hashed, "x" * 10_000_000)
    assert not passwords.verify(None, "")
