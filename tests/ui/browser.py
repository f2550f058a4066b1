"""A browser without scripts, inside the test's process: for what a page says, not for how it behaves."""

from __future__ import annotations

import re

from flask import Flask
from werkzeug.test import TestResponse

from tests.factories import FreshClient
from tests.people import PASSWORD


class Browser:
    """It keeps its cookies and sends the token of a form."""

    def __init__(self, app: Flask) -> None:
        self.client = FreshClient(app, app.response_class)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=headers)

    def token(self, path: str = "/login") -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert found
        return found[1]

    def post(self, path: str, token_from: str = "/me", **form: str) -> TestResponse:
        return self.client.post(path, data=form | {"csrf_token": self.token(token_from)})

    def sign_in(self, email: str, password: str = PASSWORD, **form: str) -> TestResponse:
        return self.post("/login", "/login", email=email, password=password, **form)
