"""The Instagram room: an account's direct messages, with Instagram Login or through a page with Facebook Login."""

from __future__ import annotations

from sandbox.messaging import rooms
from sandbox.messaging.network import MIB, PHONE, Network, Refusal, octets

network = Network(
    provider="instagram",
    label="Instagram",
    object="instagram",
    key="account_id",
    mid="aWdfZAG1faXRlbToxOk",
    fields=(
        "messages",
        "message_echoes",
        "messaging_postbacks",
        "messaging_seen",
        "message_reactions",
        "messaging_referral",
        "message_edit",
        "standby",
    ),
    field_of={
        "message": "messages",
        "echo": "messages",
        "postback": "messaging_postbacks",
        "read": "messaging_seen",
        "reaction": "message_reactions",
        "message_edit": "message_edit",
        "referral": "messaging_referral",
        "optin": "messages",
    },
    envelope=("recipient", "messaging_type", "tag", "message"),
    message=("text", "attachment", "attachments", "quick_replies"),
    type_required=False,
    size=octets,
    longest=1000,
    files={
        "image": (8 * MIB, ("image/png", "image/jpeg")),
        "video": (25 * MIB, ("video/mp4", "video/ogg", "video/x-msvideo", "video/quicktime", "video/webm")),
        "audio": (25 * MIB, ("audio/aac", "audio/mp4", "audio/x-m4a", "audio/wav", "audio/x-wav", "video/mp4")),
        "file": (25 * MIB, ("application/pdf",)),
    },
    multipart=False,
    delivers=False,
    light_touch_opens=False,
    closed=Refusal(10, 2534022, "This message is sent outside of allowed window.", 403),
    nobody=Refusal(100, 2534014, "The requested user cannot be found."),
    elsewhere=Refusal(100, 2534037, "Another app is controlling this thread now."),
    switches=PHONE,
)
room = rooms.room(network)
