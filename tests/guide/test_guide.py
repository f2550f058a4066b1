"""Every JavaScript sample of the integration guide, unedited, under Node, against the running product.

The scripts in scripts/ say which names each sample leaves open. Only host names and keys differ from the guide.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.callers import Caller, fetch, until
from tests.guide.conftest import GUIDE, HERE, Stage

PDF = b"%PDF-1.4\n% a receipt\n%%EOF\n"
express = pytest.mark.parametrize("express", ["express4", "express5"])


def test_every_sample_of_the_guide_is_run_by_a_script() -> None:
    blocks = re.findall(r"^```javascript\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    scripts = "".join(script.read_text() for script in (HERE / "scripts").glob("*.js"))
    words = {found for _, found in re.findall(r"""sample\((['"])(.+?)\1\)""", scripts)}
    assert len(blocks) == 10
    assert [sum(word in block for word in words) for block in blocks] == [1] * 10


class TestImport:
    def test_five_thousand_customers_are_created_and_then_updated(self, caller: Caller) -> None:
        stage = Stage(caller, caller.connect())
        first = stage.run("import", count=5000)
        assert first["results"] == {"created": 5000, "updated": 0, "failed": 0, "errors": []}
        assert first["lines"][0] == ["Batch 1: 1000 created, 0 updated"]
        assert first["lines"][-1] == ["Import complete:", first["results"]]
        again = stage.run("import", count=5000)
        assert again["results"] == {"created": 0, "updated": 5000, "failed": 0, "errors": []}
        kept = caller.get("/api-customers", external_id="003000004995")
        assert (kept["name"], kept["phone"], kept["tags"]) == ("Customer 4995", "+353871004995", ["imported", "è"])
        assert kept["external_system"] == "salesforce"

    def test_one_bad_record_is_named_and_fails_alone(self, stage: Stage) -> None:
        spoilt = {"3": {"email": "not an address"}, "7": {"phone": "12"}, "9": {"full_name": ""}}
        results = stage.run("import", count=1200, spoilt=spoilt)["results"]
        assert (results["created"], results["failed"]) == (1197, 3)
        assert [(error["index"], error["field"]) for error in results["errors"]] == [
            (3, "email"),
            (7, "phone"),
            (9, "name"),
        ]


def test_a_contact_that_changes_in_the_crm_is_created_and_then_updated(stage: Stage) -> None:
    jane = {"id": "003JANE", "firstName": "Jane", "lastName": "Roe", "email": "jane@example.com", "ltv": 50000.0}
    (_, first), (_, second) = stage.run("sync", contacts=[jane, jane | {"status": "won"}])
    assert (first["action"], first["external_id"]) == ("created", "003JANE")
    assert (second["action"], second["matched_by"]) == ("updated", "external_id")
    kept = stage.caller.get("/api-customers", external_id="003JANE")
    assert kept["custom_fields"] == {"lifetime_value": 50000, "crm_status": "won"}
    assert kept["id"] == first["customer_id"] == second["customer_id"]


@express
def test_the_verifying_receiver_takes_messages_and_their_files(stage: Stage, express: str) -> None:
    text = "Wo ist meine Bestellung? 🥾 \u2028 </script>"
    seen = stage.run("receiver", express=express, text=text, file=base64.b64encode(PDF).decode())
    first, second = seen["activities"]
    assert first["contactId"] == "contact of CRM-12345"
    assert (first["type"], first["channel"], first["content"]) == ("message_received", "whatsapp", text)
    assert second["content"] == "The receipt"
    (file,) = seen["files"]
    assert (file["filename"], file["contentType"]) == ("receipt.pdf", "application/pdf")
    assert base64.b64decode(file["data"]) == PDF
    assert all(words[0].endswith("for John Doe") for words in seen["lines"])
    assert seen["forged"] == 401


@express
def test_the_flat_receiver_tells_events_apart(stage: Stage, express: str) -> None:
    seen = stage.run("flat_receiver", express=express, text="Hi there")
    (activity,) = seen["activities"]
    assert (activity["subject"], activity["description"]) == ("Message via whatsapp", "Hi there")
    assert ["New message from Jane Roe: Hi there"] in seen["lines"]
    assert ["Unhandled event:", "customer.updated"] in seen["lines"]
    (_, opened), (_, assigned) = seen["told"]
    assert assigned["conversation_id"] == opened["conversation_id"]
    assert assigned["assignee"]["name"] == "Admin"


def test_the_crm_shows_a_customers_conversations(stage: Stage) -> None:
    until(stage.caller.messages)
    seen = stage.run("view", crm_id="CRM-12345")
    assert seen["shown"] == {name: seen["data"][name] for name in ("customer", "conversations")}
    (conversation,) = seen["data"]["conversations"]
    (message,) = conversation["messages"]
    assert (message["content"], message["attachments"]) == ("Good morning", [])


def test_the_iframe_shows_the_embed(stage: Stage) -> None:
    until(stage.caller.messages)
    seen = stage.run("embed", crm_id="CRM-12345")
    assert seen["iframe"]["style"] == {"width": "100%", "height": "600px", "border": "none"}
    assert seen["status"] == 200
    assert "frame-ancestors" not in seen["policy"]  # no list of pages is kept: any may show it
    assert "Good morning" in seen["html"]


def test_a_message_goes_out_with_the_samples_empty_file(stage: Stage) -> None:
    until(stage.caller.messages)
    seen = stage.run("send")
    (words, first), (_, second) = seen["lines"]
    assert words == "Message sent:"
    assert (first["success"], first["status"]) == (True, "queued")
    assert second == seen["second"]
    (empty,) = first["message"]["attachments"]
    assert (empty["filename"], empty["type"], empty["size"]) == ("receipt.pdf", "application/pdf", 0)

    def ends() -> Any:
        ids = (first["message_id"], second["message_id"])
        ended = [one for one in stage.caller.messages() if one["id"] in ids and one["status"] not in ("queued", "sent")]
        return ended if len(ended) == 2 else None

    assert {one["content"]: one["status"] for one in until(ends)} == {
        "Hi! Your order is ready for pickup.": "delivered",
        "And the invoice.": "delivered",
    }


def test_the_poll_loop_handles_what_comes_in(stage: Stage) -> None:
    until(stage.caller.messages)
    running = stage.start("poll", last="The end")
    assert running.stderr
    assert running.stderr.readline() == "polling\n"
    customer_id = stage.caller.get("/api-customers", external_id="CRM-12345")["id"]
    stage.caller.say("First")
    stage.caller.post("/api-send-message", {"customer_id": customer_id, "channel": "whatsapp", "content": "Answer"})
    stage.caller.say("The end")
    seen = stage.result(running)
    assert seen["pause"] == 30000
    inbound = {one["id"]: one["content"] for one in stage.caller.messages() if one["direction"] == "inbound"}
    assert [inbound[message_id] for message_id in seen["handled"]] == ["First", "The end"]
    assert len(seen["listed"]) == 3


def test_the_salesforce_class_syncs_shows_and_receives(stage: Stage) -> None:
    contacts = [
        {"Id": f"003SF{i:04d}", "Name": f"Contact {i}", "Email": f"c{i}@example.com", "Phone": f"+35385{1000000 + i}"}
        for i in range(1100)
    ]
    seen = stage.run("salesforce", contacts=contacts, text="From Salesforce's own customer")
    assert seen["nothingYet"]["customer"]["external_id"] == "003SF0000"
    assert seen["nothingYet"]["conversations"] == []
    (conversation,) = seen["view"]["conversations"]
    assert (conversation["channel"], conversation["messageCount"], conversation["status"]) == ("WhatsApp", 1, "open")
    assert seen["tasks"][0]["message"]["content"] == "From Salesforce's own customer"
    assert seen["cases"][0]["external_id"] == "003SF0000"
    assert seen["refusals"] == []
    assert seen["forged"] == "Invalid webhook signature"
    assert stage.caller.get("/api-customers", external_id="003SF1099")["external_system"] == "salesforce"


def test_the_first_call_of_the_guide_needs_no_body(caller: Caller) -> None:
    address = f"{caller.live.base_url}/functions/v1/api-customers"
    assert fetch(address).status == 401
    assert caller.get("/api-customers") == {"customers": [], "has_more": False, "next_cursor": None}
