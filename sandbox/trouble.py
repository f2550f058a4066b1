"""What the ordered faults do to an HTTP answer, whoever's API it is. Called by the front doors of the rooms."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Response

from sandbox.errors import Dropped
from sandbox.faults import Fault
from sandbox.world import World

_HTML = (
    "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"
)


def strike(fault: Fault) -> Response | None:
    """Answer as a proxy does, or cut the connection (raises `Dropped`); None if the provider itself refuses."""
    if fault.kind == "drop_before_accept":
        raise Dropped
    return Response(_HTML, 500, mimetype="text/html") if fault.kind == "server_error_html" else None


def hold_up(here: World, fault: Fault, answer: Response) -> None:
    """Delay or lose the answer to what was done."""
    if fault.kind == "slow":
        data = answer.get_data()
        half = len(data) // 2

        def slowly() -> Iterator[bytes]:
            yield data[:half]
            time.sleep(fault.seconds(2))
            yield data[half:]

        answer.response = slowly()  # the headers and half of the body come at once
    elif fault.kind == "early_status":
        time.sleep(fault.seconds(here.pace * 3 + 0.2))
    else:
        if fault.kind == "timeout_after_accept":
            time.sleep(fault.seconds(30))
        raise Dropped
