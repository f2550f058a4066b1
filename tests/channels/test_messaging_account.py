"""What Messenger and Instagram are asked besides messages: tests, events, read marks, names, tokens; their settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import channels
from channels.base import Account, BadSignature, ChannelError
from tests.channels import kinds

MESSENGER, INSTAGRAM = channels.get("facebook"), channels.get("instagram")
PAGE, IG = kinds.account("facebook"), kinds.account("instagram")
BY_PAGE = kinds.account("instagram", login="facebook", page_id="333")


def answer(server: HTTPServer, path: str, body: dict[str, Any], status: int = 200, method: str = "GET") -> None:
    server.expect_request(f"/v26.0/{path}", method=method).respond_with_json(body, status)


class TestCheck:
    def test_the_page_tells_its_name(self, provider: HTTPServer) -> None:
        answer(provider, "111", {"name": "Acme", "id": "111"})
        assert MESSENGER.check(PAGE) == {"name": "Acme", "address": "Acme", "details": {}}

    def test_the_instagram_account_tells_its_name(self, provider: HTTPServer) -> None:
        answer(provider, "me", {"user_id": "17841400000000000", "username": "acme.ie", "name": "Acme"})
        assert INSTAGRAM.check(IG) == {"name": "Acme", "address": "@acme.ie", "details": {}}
        assert provider.log[0][0].args["fields"] == "user_id,username,name"

    def test_through_the_page_it_is_asked_for_by_its_id(self, provider: HTTPServer) -> None:
        answer(provider, "17841400000000000", {"username": "acme.ie"})
        assert INSTAGRAM.check(BY_PAGE) == {"name": "acme.ie", "address": "@acme.ie", "details": {}}

    def test_a_token_of_another_account_is_found_out(self, provider: HTTPServer) -> None:
        answer(provider, "me", {"user_id": "17841400000000001", "username": "other"})
        with pytest.raises(ChannelError, match="@other") as caught:
            INSTAGRAM.check(IG)
        assert caught.value.action == "account"


class TestSubscribe:
    def test_the_page_is_subscribed_to_all_that_is_read(self, provider: HTTPServer) -> None:
        answer(provider, "111/subscribed_apps", {"success": True}, method="POST")
        MESSENGER.subscribe(PAGE)
        asked = set(provider.log[0][0].args["subscribed_fields"].split(","))
        assert asked == {
            "messages",
            "messaging_postbacks",
            "message_deliveries",
            "message_reads",
            "message_echoes",
            "message_reactions",
            "message_edits",
            "messaging_referrals",
            "messaging_optins",
        }

    def test_instagram_is_asked_again_where_it_knows_no_field_for_echoes(self, provider: HTTPServer) -> None:
        def strict(request: Request) -> Response:
            unknown = "message_echoes" in request.args["subscribed_fields"]
            body = (
                {"error": {"code": 100, "message": "(#100) Param subscribed_fields"}} if unknown else {"success": True}
            )
            return Response(json.dumps(body), 400 if unknown else 200, content_type="application/json")

        provider.expect_request("/v26.0/17841400000000000/subscribed_apps").respond_with_handler(strict)
        INSTAGRAM.subscribe(IG)
        assert "messaging_seen" in provider.log[1][0].args["subscribed_fields"]

    def test_other_trouble_is_told(self, provider: HTTPServer) -> None:
        answer(provider, "17841400000000000/subscribed_apps", {"error": {"code": 190}}, 401, "POST")
        with pytest.raises(ChannelError) as caught:
            INSTAGRAM.subscribe(IG)
        assert (caught.value.action, len(provider.log)) == ("account", 1)

    def test_through_the_page_any_field_of_the_page_will_do(self, provider: HTTPServer) -> None:
        answer(provider, "333/subscribed_apps", {"success": True}, method="POST")
        INSTAGRAM.subscribe(BY_PAGE)
        assert provider.log[0][0].args["subscribed_fields"] == "feed"


@pytest.mark.parametrize(("account", "node"), [(PAGE, "111"), (IG, "17841400000000000"), (BY_PAGE, "333")])
def test_reading_shows_the_person_that_all_was_seen(provider: HTTPServer, account: Account, node: str) -> None:
    answer(provider, f"{node}/messages", {"recipient_id": "222"}, method="POST")
    channels.get(account.kind).mark_read(account, "222", "m_IN")
    assert provider.log[0][0].get_json() == {"recipient": {"id": "222"}, "sender_action": "mark_seen"}


class TestProfile:
    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ({"first_name": "Aoife", "last_name": "Ní Bhriain"}, "Aoife Ní Bhriain"),
            ({"first_name": "Aoife"}, "Aoife"),
            ({"first_name": None, "id": "222"}, ""),
        ],
    )
    def test_messenger_tells_first_and_last_name(self, provider: HTTPServer, body: dict[str, Any], name: str) -> None:
        answer(provider, "222", body)
        person = MESSENGER.profile(PAGE, "222")
        assert (person.name, person.address, person.scoped_id) == (name, "222", "222")

    @pytest.mark.parametrize(
        ("body", "name", "username"),
        [
            ({"name": "Aoife", "username": "aoife.b"}, "Aoife", "aoife.b"),
            ({"name": None, "username": "aoife.b"}, "aoife.b", "aoife.b"),
            ({"id": "222"}, "", ""),
        ],
    )
    def test_instagram_tells_name_and_handle(
        self, provider: HTTPServer, body: dict[str, Any], name: str, username: str
    ) -> None:
        answer(provider, "222", body)
        person = INSTAGRAM.profile(IG, "222")
        assert (person.name, person.username) == (name, username)

    def test_a_profile_that_may_not_be_read_is_no_trouble_of_the_account(self, provider: HTTPServer) -> None:
        answer(provider, "222", {"error": {"code": 2018218, "message": "No profile available for this user."}}, 400)
        with pytest.raises(ChannelError) as caught:
            MESSENGER.profile(PAGE, "222")
        assert caught.value.action == "permanent"

    def test_an_address_that_is_no_id_never_becomes_a_path(self, provider: HTTPServer) -> None:
        with pytest.raises(ChannelError):
            INSTAGRAM.profile(IG, "me/accounts")
        assert provider.log == []


class TestRefresh:
    def test_a_token_is_exchanged_for_one_that_lasts(self, provider: HTTPServer) -> None:
        new = {"access_token": "IGAA-new", "token_type": "bearer", "expires_in": 5183944}
        answer(provider, "refresh_access_token", new)
        token = INSTAGRAM.refresh(IG)
        assert token is not None
        assert token.config == {"access_token": "IGAA-new"}
        assert abs(token.expires_at - datetime.now(UTC) - timedelta(seconds=5183944)) < timedelta(minutes=1)
        asked = {"grant_type": "ig_refresh_token", "access_token": "IGAA-token"}
        assert dict(provider.log[0][0].args) == asked

    @pytest.mark.parametrize("body", [{"x": 1}, {"access_token": "T"}, {"access_token": "T", "expires_in": "soon"}])
    def test_an_answer_that_says_too_little_changes_nothing(self, provider: HTTPServer, body: dict[str, Any]) -> None:
        answer(provider, "refresh_access_token", body)
        with pytest.raises(ChannelError) as caught:
            INSTAGRAM.refresh(IG)
        assert caught.value.action == "retry"

    @pytest.mark.parametrize("account", [PAGE, BY_PAGE])
    def test_a_pages_token_does_not_end(self, provider: HTTPServer, account: Account) -> None:
        assert channels.get(account.kind).refresh(account) is None
        assert provider.log == []


class TestSettings:
    @pytest.mark.parametrize("secret", ["app-secret-123", "ig-secret-456"])
    def test_either_secret_may_have_signed_for_instagram(self, secret: str) -> None:
        callback = kinds.callback("instagram", b"{}", headers=kinds.as_meta_signs(secret)(b"{}"))
        INSTAGRAM.verify(callback, IG.config)
        with pytest.raises(BadSignature):
            INSTAGRAM.verify(callback, dict(IG.config) | {"app_secret": "", "instagram_app_secret": "another"})

    def test_one_of_instagrams_secrets_is_needed(self) -> None:
        config = kinds.PROVIDERS["instagram"].config | {"app_secret": "", "instagram_app_secret": ""}
        with pytest.raises(ValueError, match=r"^instagram_app_secret: "):
            INSTAGRAM.normalise(config)
        assert INSTAGRAM.normalise(config | {"app_secret": "x"})["login"] == "instagram"

    @pytest.mark.parametrize("missing", ["page_id", "app_secret"])
    def test_facebook_login_needs_the_page_and_the_apps_secret(self, missing: str) -> None:
        config = kinds.PROVIDERS["instagram"].config | {"login": "facebook", "page_id": "333", missing: ""}
        with pytest.raises(ValueError, match=rf"^{missing}: "):
            INSTAGRAM.normalise(config)

    def test_the_name_may_be_entered_with_its_sign(self) -> None:
        read = INSTAGRAM.normalise(kinds.PROVIDERS["instagram"].config | {"username": " @acme.ie "})
        assert INSTAGRAM.address(read) == "@acme.ie"

    def test_an_account_is_named_by_its_page_too(self) -> None:
        assert INSTAGRAM.names(BY_PAGE.config) == ("17841400000000000", "333")
        assert INSTAGRAM.names(IG.config) == ("17841400000000000",)
        assert MESSENGER.names(PAGE.config) == ("111",)

    @pytest.mark.parametrize("field", ["login", "human_agent"])
    def test_a_choice_is_one_of_its_words(self, field: str) -> None:
        with pytest.raises(ValueError, match=rf"^{field}: must be one of"):
            INSTAGRAM.normalise(kinds.PROVIDERS["instagram"].config | {field: "perhaps"})

    def test_neither_has_templates(self) -> None:
        assert MESSENGER.templates(PAGE) == INSTAGRAM.templates(IG) == []
