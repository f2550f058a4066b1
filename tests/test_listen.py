"""`flask listen`: a business's events reach a developer's machine, signed as webhooks are, with no tunnel."""

from __future__ import annotations

import subprocess
import time

import urllib3
from standardwebhooks import Webhook

import run
from tests import servers
from tests.processes import Live
from tests.receivers import listening, status

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBsaXN0ZW5lcg=="


def test_events_are_forwarded_signed_and_tried_again(live: Live) -> None:
    made = live.flask("business", "create", "Listened", "--admin-email", f"listen{time.time_ns()}@example.com")
    url = f"{live.base_url}/functions/v1/api-customers"
    headers = {"x-api-key": made["api_key"]}
    urllib3.request("POST", url, json={"name": "Before", "email": "before@example.com"}, headers=headers)
    with listening() as receiver:
        receiver.will(status(500), status(200))
        words = ["--app", "app", "listen", "--forward-to", receiver.url(), "--secret", SECRET]
        command = [*run.found(["flask"]), *words, "--business", made["business_id"]]
        with subprocess.Popen(command, cwd=servers.ROOT, env=live.env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert SECRET in process.stdout.readline()
                time.sleep(1)
                urllib3.request("POST", url, json={"name": "Now", "email": "now@example.com"}, headers=headers)
                first, second = receiver.wait(2)
                assert "customer.created" in process.stdout.readline()
                process.send_signal(2)
                process.wait(20)
            finally:
                process.kill()
    assert first.body == second.body
    assert first.event["data"]["customer"]["name"] == "Now"
    Webhook(SECRET).verify(second.body, second.headers)
