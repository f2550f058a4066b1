"""Install packages into the environment that runs this: by uv, ten times faster, where uv can do what pip is told.

Takes pip's arguments (`-r FILE`, or names). Called by the Makefile; imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

UV = "uv==0.13.9"
PIP = [sys.executable, "-m", "pip"]
# pip's settings, and the variable by which uv knows each. One that is not here leaves the work to pip.
KNOWN = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "HTTPS_PROXY",
    "cache-dir": "",  # what says nothing to uv
    "no-cache-dir": "",
    "default-timeout": "",
    "timeout": "",
    "retries": "",
    "disable-pip-version-check": "",
    "root-user-action": "",
    "no-input": "",
    "progress-bar": "",
    "quiet": "",
    "no-compile": "",
    "break-system-packages": "",
}


def uv_environment() -> dict[str, str] | None:
    """Say pip's settings in uv's words; None if they have no such words."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    env = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_HTTP_TIMEOUT": "60", "UV_LINK_MODE": "copy"}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section not in ("global", "install", ":env:"):
            continue
        if key not in KNOWN:
            return None
        if KNOWN[key]:
            env[KNOWN[key]] = " ".join(str(ast.literal_eval(value)).split())
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    return ({"SSL_CERT_FILE": bundle} if bundle else {}) | dict(os.environ) | env


def by_uv(words: list[str]) -> bool:
    env = uv_environment()
    if (
        env is None
        or subprocess.run([*PIP, "install", "--quiet", UV], stderr=subprocess.DEVNULL, check=False).returncode
    ):
        return False
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, *words]
    return subprocess.run(command, env=env, check=False).returncode == 0


def main(words: list[str]) -> int:
    print(f"Installing {' '.join(words).removeprefix('-r ')} …", flush=True)
    if by_uv(words):
        return 0
    return subprocess.run([*PIP, "install", "--quiet", "--no-compile", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
