"""The Messenger room: a page's conversations, as the Messenger Platform has them."""

from __future__ import annotations

from sandbox.messaging import rooms
from sandbox.messaging.network import MIB, PHONE, Network, Refusal, characters

network = Network(
    provider="facebook",
    label="Messenger",
    object="page",
    key="page_id",
    mid="m_",
    fields=(
        "messages",
        "messaging_postbacks",
        "message_deliveries",
        "message_reads",
        "message_echoes",
        "message_reactions",
        "message_edits",
        "messaging_referrals",
        "messaging_optins",
    ),
    field_of={
        "message": "messages",
        "echo": "message_echoes",
        "postback": "messaging_postbacks",
        "delivery": "message_deliveries",
        "read": "message_reads",
        "reaction": "message_reactions",
        "message_edit": "message_edits",
        "referral": "messaging_referrals",
        "optin": "messaging_optins",
    },
    envelope=("recipient", "messaging_type", "tag", "message", "reply_to", "notification_type", "persona_id"),
    message=("text", "attachment", "quick_replies", "metadata"),
    type_required=True,
    size=characters,
    longest=1999,
    files=dict.fromkeys(("image", "video", "audio", "file"), (25 * MIB, ())),
    multipart=True,
    delivers=True,
    light_touch_opens=True,
    closed=Refusal(10, 2018278, "This message is sent outside of allowed window.", 403),
    nobody=Refusal(100, 2018001, "No matching user found."),
    elsewhere=Refusal(10, 2018300, "Another app is controlling this thread now.", 403),
    switches=PHONE,
)
room = rooms.room(network)
