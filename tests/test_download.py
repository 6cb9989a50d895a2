"""The download manager of tensorflow-datasets as we use it, against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.base import Archive, TaskError
from tasks.download import fetch, kept_copy

pytest.importorskip("tensorflow_datasets")

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every name; `breaks` bytes before the end the connection dies."""

    breaks = 0
    asked = 0


class Handler(BaseHTTPRequestHandler):
    """Answers for Server."""

    server: Server

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) - self.server.breaks])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def archive(server: Server, content: bytes = CONTENT) -> Archive:
    url = f"http://127.0.0.1:{server.server_port}/thing.tar.gz"
    return Archive(url=url, size=len(content), sha256=hashlib.sha256(content).hexdigest(), dataset="thing")


def left_over(tmp_path: Path) -> list[Path]:
    return list(tmp_path.rglob("*.tmp.*"))


def test_a_download_is_announced_checked_and_kept(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    assert fetch(archive(server), told.append).read_bytes() == CONTENT
    assert len(told) == 1
    assert "(1 MB)" in told[0]
    assert fetch(archive(server), told.append).read_bytes() == CONTENT
    assert (server.asked, len(told)) == (1, 1)
    assert not left_over(tmp_path)


def test_another_content_is_refused_and_asked_for_again(server: Server, tmp_path: Path) -> None:
    wrong = archive(server, CONTENT[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(TaskError, match=r"thing\.tar\.gz is not the expected file \(1,024,000 bytes"):
            fetch(wrong, print)
    assert server.asked == 2
    assert kept_copy(wrong, tmp_path / "tfds" / "downloads") is None
    assert not left_over(tmp_path)


def test_a_broken_connection_leaves_nothing_and_can_be_repeated(server: Server, tmp_path: Path) -> None:
    server.breaks = 5
    with pytest.raises(TaskError, match=r"cannot download .*get the file on another machine and name it with --raw"):
        fetch(archive(server), print)
    assert not left_over(tmp_path)
    server.breaks = 0
    assert fetch(archive(server), print).read_bytes() == CONTENT


def test_a_file_put_into_the_manual_folder_is_checked_and_taken(server: Server, tmp_path: Path) -> None:
    manual = tmp_path / "tfds" / "downloads" / "manual" / "thing.tar.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(CONTENT)
    assert fetch(archive(server), print) == manual
    manual.write_bytes(CONTENT[:-1])
    with pytest.raises(TaskError, match="is not the expected file"):
        fetch(archive(server), print)
    assert server.asked == 0


def test_no_server_is_told_at_once(server: Server) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(TaskError, match=r"cannot download http://127\.0\.0\.1"):
        fetch(archive(server), print)
