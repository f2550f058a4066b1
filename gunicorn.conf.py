"""How the web processes run: one gevent worker for each WEB_WORKERS, thousands of open streams in each."""

import gc
import os
import resource
import socket

_development = os.environ.get("APP_ENV") == "development"
_port = os.environ.get("PORT", "8000")


def _addresses() -> list[str]:
    """In development this machine alone, by both of its names; else every interface."""
    host = os.environ.get("HOST", "")
    if host:
        return [f"[{host}]:{_port}" if ":" in host else f"{host}:{_port}"]
    both = [f"127.0.0.1:{_port}", f"[::1]:{_port}"] if _development else [f"[::]:{_port}"]
    return both if _has_ipv6() else ([f"127.0.0.1:{_port}"] if _development else [f"0.0.0.0:{_port}"])


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


bind = _addresses()
worker_class = "gevent"
workers = int(os.environ.get("WEB_WORKERS", "1"))
worker_connections = 20_000  # an open screen holds one for as long as it is open
backlog = 4096
keepalive = 65  # longer than a load balancer's usual 60 s, so that it never writes to a connection being closed
timeout = 60
graceful_timeout = 3 if _development else 25
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # heartbeats, off the disk
forwarded_allow_ips = ""  # TRUSTED_PROXIES decides, in one place
control_socket_disable = True
loglevel = os.environ.get("LOG_LEVEL", "INFO").lower() if not _development else "warning"

_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))


def post_worker_init(worker: object) -> None:
    """Let open streams go as soon as the worker is told to stop, and spare the collector what is loaded.

    A full collection of it would hold every request for 0.1 s.
    """
    worker.wsgi.extensions["live"].stopping = lambda: not worker.alive  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # a batch of 1,000 makes a hundred thousand objects that soon go by themselves
