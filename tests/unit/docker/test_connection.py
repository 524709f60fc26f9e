"""An engine whose connections break, and that says what no engine should: what comes of it here."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import socket
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runyard.backends.base import Handle, JobId, Request
from runyard.backends.docker import delivery, engine, mirror
from runyard.backends.docker.backend import DockerBackend
from runyard.backends.docker.engine import Engine
from runyard.backends.docker.files import Files, Gone, Ran
from runyard.backends.docker.helper import Helper
from runyard.backends.docker.mirror import Mirror
from runyard.backends.docker.plan import EXPERIMENT_DIR
from runyard.backends.docker.remote import Remote
from runyard.backends.docker.volumes import VolumeFetcher
from runyard.errors import SubmitError, TunnelError, Unavailable
from runyard.snapshots.tarstream import END

LOG = b"0123456789abcdef" * 1024


class Answers(BaseHTTPRequestHandler):
    """One connection to an engine of containers that hold one file, and run commands on this machine."""

    protocol_version = "HTTP/1.1"
    server: Fake

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/version"):
            self.say({"ApiVersion": "1.41"})
        elif url.path.endswith("/archive"):
            self.archive(parse_qs(url.query)["path"][0])
        elif "/exec/" in url.path:
            self.say({"Running": self.server.running, "ExitCode": None})
        elif self.server.state:
            self.say({"Id": "c", "State": {"Status": self.server.state}, "Config": {}})
        else:
            self.say({"message": "No such container: c"}, 404)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("X-Docker-Container-Path-Stat", self.about())
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        if self.path.endswith("/exec"):
            self.server.command = body["Cmd"]
            self.say({"Id": "e"})
        elif "/images/create" in self.path:
            self.pull()
        elif self.path.endswith("/start") and "/exec/" in self.path:
            self.exec()
        elif self.path.endswith("/start"):
            self.server.state = "running"
            self.say(None, 204)
        elif "/containers/create" in self.path and self.server.state:
            self.say({"message": "Conflict. The name is already in use"}, 409)
        elif "/containers/create" in self.path:
            self.server.state = "created"
            self.say({"Id": "c"}, 201)
        else:
            self.say({"Id": "c", "Name": "v"}, 201)

    def do_DELETE(self) -> None:
        self.server.state = ""
        self.say(None, 204)

    def do_PUT(self) -> None:
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()
        self.say(None)

    def about(self) -> str:
        return base64.b64encode(json.dumps({"size": len(LOG), "mtime": "2026-01-01T00:00:00Z"}).encode()).decode()

    def say(self, data: Any, code: int = 200) -> None:
        body = b"" if data is None else json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def archive(self, path: str) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            self.server.member(tar, path)
        self.send_response(200)
        self.send_header("X-Docker-Container-Path-Stat", self.about())
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = made.getvalue()[: self.server.cut]
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.end() if self.server.cut else self.wfile.write(b"0\r\n\r\n")

    def pull(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = json.dumps({"id": "a", "status": "Downloading"}).encode() * 9
        self.wfile.write(b"%x\r\n%s" % (len(data), data[: self.server.cut]))
        self.end()

    def exec(self) -> None:
        if self.server.state != "running":
            self.say({"message": "Container c is not running"}, 409)
            return
        command = [word.replace(EXPERIMENT_DIR, str(self.server.volume)) for word in self.server.command]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        self.send_response(200)
        self.end_headers()
        data = b"".join(struct.pack(">BxxxL", n, len(d)) + d for n, d in ((1, done.stdout), (2, done.stderr)) if d)
        self.wfile.write(data[: self.server.cut])
        self.end()

    def end(self) -> None:
        """End the connection as the test wants: in an orderly way, with a reset, or not at all."""
        self.close_connection = True
        self.wfile.flush()
        if self.server.silent.wait(0) is False:
            self.server.over.wait(20)
        if self.server.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


class Fake(ThreadingHTTPServer):
    """An engine on loopback.

    Attributes:
        cut: Bytes after which an answer ends.
        reset: It then ends with a reset.
        silent: Cleared: nothing more comes then.
        running: What it says of a command whose output has ended.
        state: That of its only container; empty without one.
        volume: The folder of this machine that commands take for the volume.
        member: Adds what is at a path to its archive.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.cut: int | None = None
        self.reset = False
        self.silent, self.over = threading.Event(), threading.Event()
        self.silent.set()
        self.running = False
        self.state = "running"
        self.volume = Path("/nowhere")
        self.command: list[str] = []
        self.member: Callable[[tarfile.TarFile, str], None] = add_log

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"


def add_log(tar: tarfile.TarFile, path: str) -> None:
    info = tarfile.TarInfo("log")
    info.size = len(LOG)
    tar.addfile(info, io.BytesIO(LOG))


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join(60)


@pytest.fixture
def files(fake: Fake) -> Iterator[Files]:
    made = Files(Engine(fake.address))
    yield made
    with made.engine.asking() as client:
        client.close()


def whole(files: Files) -> bytes:
    found = files.read("c", "/log")
    assert found is not None
    return b"".join(found[1])


# -- reading -----------------------------------------------------------------------------------


def test_reading(fake: Fake, files: Files) -> None:
    assert whole(files) == LOG
    fake.member = lambda tar, path: tar.addfile(tarfile.TarInfo("log"))
    assert whole(files) == b""


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [0, 300, 512, 5000])
def test_a_file_that_is_cut(fake: Fake, files: Files, cut: int, reset: bool) -> None:
    fake.cut, fake.reset = cut or 1, reset
    with pytest.raises(Unavailable, match=r"127\.0"):
        whole(files)
    fake.cut = None
    assert whole(files) == LOG


def test_a_file_that_shrinks_while_it_is_sent(fake: Fake, files: Files) -> None:
    """The engine has told its size by then, and ends the archive early."""

    def shrink(tar: tarfile.TarFile, path: str) -> None:
        info = tarfile.TarInfo("log")
        info.size = len(LOG)
        assert tar.fileobj is not None
        tar.fileobj.write(info.tobuf() + LOG[:700])

    fake.member = shrink
    with pytest.raises(Unavailable, match="damaged archive"):
        whole(files)


def test_a_machine_that_goes_off_while_it_sends(fake: Fake, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """No word comes that the connection has ended: that must not keep us for ever."""
    monkeypatch.setattr(engine, "_SECONDS", 0.3)
    fake.cut = 5000
    fake.silent.clear()
    with pytest.raises(Unavailable, match="does not answer"):
        whole(files)


@pytest.mark.parametrize("reset", [False, True])
def test_a_pull_that_is_cut(fake: Fake, files: Files, reset: bool) -> None:
    fake.cut, fake.reset = 60, reset
    with pytest.raises(Unavailable, match=r"127\.0"):
        list(files.engine.pull("image:1"))


def test_a_machine_that_goes_off_is_noticed_by_the_kernel(fake: Fake, files: Files) -> None:
    """docker-py sets no limit while it pulls."""
    assert files.stat("c", "/log")
    with files.engine.asking() as client:
        (pool,) = client.api.get_adapter("http://x").poolmanager.pools._container.values()
        connection = pool._get_conn()
        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        connection.close()


# -- commands ----------------------------------------------------------------------------------


def test_commands(files: Files) -> None:
    assert files.run("c", 'echo "$1"; echo no >&2; exit 7', "-x\n y") == Ran(7, b"-x\n y\n", b"no\n")
    assert files.run("c", "printf '\\0 0\\n'") == Ran(0, b"\0 0\n", b"")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [1, 8, 12, 30])
def test_a_command_whose_output_is_cut(fake: Fake, files: Files, cut: int, reset: bool) -> None:
    """What came is not taken for all, and it is not run again while it runs."""
    fake.cut, fake.reset = cut, reset
    fake.running = True
    with pytest.raises(Unavailable):
        files.run("c", "echo 1; echo 2; echo 3")
    fake.running, fake.reset = False, False
    with pytest.raises(Gone):
        files.run("c", "echo 1; echo 2; echo 3")


@pytest.mark.parametrize("state", ["", "created", "running", "exited", "dead"])
def test_a_helper_that_is_found(fake: Fake, files: Files, state: str) -> None:
    """Somebody else may have started it, or died before; one that has ended, and could not be removed, gives way."""
    fake.state = state
    assert Helper(files, "v", "image").run("echo works").out == b"works\n"


# -- writing on this machine -------------------------------------------------------------------


def copy_of(files: Files, folder: Path) -> Mirror:
    return Mirror(files, Helper(files, "v", "image"), str(folder), "/runyard/experiment/task")


def test_a_copy_that_cannot_be_written(files: Files, tmp_path: Path) -> None:
    """It is this machine that has the trouble, and not the engine."""
    (tmp_path / "attempts").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written") as error:
        copy_of(files, tmp_path).collect("c", 1, "")
    assert str(tmp_path / "attempts" / "1" / "log") in error.value.message
    assert "free space" in error.value.hint


def test_a_cut_log_goes_on_where_it_was(fake: Fake, files: Files, tmp_path: Path) -> None:
    made = copy_of(files, tmp_path)
    fake.cut = 5000
    with pytest.raises(Unavailable):
        made.follow([("c", "")], 1)
    log = tmp_path / "attempts" / "1" / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(LOG[:1000])
    fake.cut = None
    made.follow([("c", "")], 1)
    assert log.read_bytes() == LOG
    log.write_bytes(LOG + b"the task has cut its log since")
    made.follow([("c", "")], 1)
    assert log.read_bytes() == LOG


def test_an_image_without_tail(files: Files, tmp_path: Path) -> None:
    """Who follows gets no more; at the end the log is read as a whole."""
    log = tmp_path / "attempts" / "1" / "log"
    log.parent.mkdir(parents=True)
    log.write_bytes(LOG[:-100])
    made = copy_of(files, tmp_path)  # where the commands run there is no such file
    made.follow([("c", "")], 1)
    assert log.read_bytes() == LOG[:-100]
    made.collect("c", 1, "")
    assert log.read_bytes() == LOG


def test_somebody_else_who_brings_a_log_and_is_stopped(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "WAIT_SECONDS", 0.1)
    with open(tmp_path / ".mirror.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process is bringing"):
            copy_of(files, tmp_path).collect("c", 1, "")
    copy_of(files, tmp_path).collect("c", 1, "")
    assert (tmp_path / "attempts" / "1" / "log").read_bytes() == LOG


# -- sending -----------------------------------------------------------------------------------


def test_what_a_job_sends(tmp_path: Path) -> None:
    """Neither what came from its target, nor what a pull is just writing."""
    for name in ("docker.sh", "inner/.hidden", "attempts/1/log", "log", "pulled/big", ".ry-1/big", ".mirror.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("docker.sh")
    data = b"".join([*delivery._job(tmp_path, (1, 2)), END])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [m.name.partition("/")[2] for m in tar] == ["", "inner", "docker.sh", "inner/.hidden"]


def test_a_file_here_that_cannot_be_sent(files: Files, tmp_path: Path) -> None:
    """It is this machine that has the trouble, and the container does not start without it."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")

    def members() -> Iterator[bytes]:
        for n, piece in enumerate(delivery._job(tmp_path, (0, 0))):
            if n == 1:
                (tmp_path / "b").unlink()
            yield piece

    with pytest.raises(SubmitError, match="b: cannot be read"):
        files.put("c", "/", members())
    with pytest.raises(SubmitError, match="nowhere: cannot be read"):
        files.put("c", "/", delivery._job(tmp_path / "nowhere", (0, 0)))


def test_a_container_that_is_removed_before_it_starts(fake: Fake, files: Files, tmp_path: Path) -> None:
    fake.state = ""
    brings = delivery.Delivery(files, lambda volume, image: Helper(files, volume, image))
    request = Request(JobId("e", "task"), (), {}, str(tmp_path))
    with pytest.raises(SubmitError, match="removed before it started"):
        brings.bring(request, {"volume": "v"}, [("c", {"image": "image"})])


# -- pulling -----------------------------------------------------------------------------------


def fetcher(fake: Fake, tmp_path: Path) -> VolumeFetcher:
    document = {"volume": "v", "containers": [{"create": {"image": "image"}}]}
    return VolumeFetcher(Remote(Engine(fake.address)), document, str(tmp_path), "there")


def test_a_link_in_the_place_of_what_was_pulled(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task can write to the volume: files of this machine must not be taken for those that came."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "id_rsa").write_text("kept")

    def link(tar: tarfile.TarFile, path: str) -> None:
        info = tarfile.TarInfo(os.path.basename(path))
        info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "mine")
        tar.addfile(info)

    fake.member, fake.volume = link, tmp_path / "volume"
    (tmp_path / "volume" / "task").mkdir(parents=True)
    made = fetcher(fake, tmp_path)
    with pytest.raises(TunnelError, match="a link came"):
        made.fetch(str(tmp_path / "task"), ["id_rsa"], tmp_path / "into", lambda done: None)
    assert not (tmp_path / "into").exists()
    assert (tmp_path / "mine" / "id_rsa").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["mine", "volume"]


# -- waiting -----------------------------------------------------------------------------------


def test_nobody_waits_for_events_of_an_engine_that_is_away(tmp_path: Path) -> None:
    """What ssh forwards takes each connection and closes it, which would wake us again at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def closes() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=closes)
        thread.start()
        backend = DockerBackend(str(tmp_path))
        cluster = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unavailable):
            backend.observe([Handle("docker", cluster, "job|1", str(tmp_path))])
        assert backend.wakeups() == []
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
