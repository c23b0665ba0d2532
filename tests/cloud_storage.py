"""Cloud Storage and S3 on this machine, for tests.

Cloud Storage is an emulator, behind a proxy that injects faults; S3 is moto's server.
The emulator is fake-gcs-server; `make .gcs/fake-gcs-server` builds it. Python's client is told of
it by ``STORAGE_EMULATOR_HOST``. TensorFlow's knows no other address than Google's: it is sent to
the proxy as its HTTPS proxy, which answers for Google with a certificate of its own. The token for
both comes from where it does on a worker in the cloud, a metadata server; that is the proxy too.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BUILT = Path(__file__).parents[1] / ".gcs" / "fake-gcs-server"
EMULATOR = os.environ.get("FAKE_GCS") or shutil.which(str(_BUILT))
S3_SERVER = os.environ.get("MOTO_SERVER") or shutil.which(
    "moto_server", path=str(Path(sys.executable).parent)
)
_START_SECONDS = 30
_HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive")


# What a metadata server says of the account that a machine works for, by part of the path.
_METADATA = {
    "/token": '{"access_token": "any", "expires_in": 3600, "token_type": "Bearer"}',
    "/?recursive=true": '{"email": "default", "scopes": []}',
    "/project-id": "test",
    "/universe-domain": "googleapis.com",
}


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to `port`; of those that `rate` takes, each meets one of `FAULTS`."""

    FAULTS = ("429", "503", "broken upload", "lost answer")
    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.certificate = certificate
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)
        self.port = 0
        self.rate = 0.0
        self.random = random.Random(0)
        self.faults: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.downloads: Counter[str] = Counter()
        self.connections = 0
        self.sent_bytes = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What sends the clients of Cloud Storage here."""
        host = self.url.removeprefix("http://")
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "https_proxy": self.url,
            "CURL_CA_BUNDLE": str(self.certificate),
        }

    def process_request(self, request, client_address) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def next_fault(self, method: str, body: bytes) -> str:
        """The fault that a request meets, or an empty text."""
        with self._lock:
            self.requests[method] += 1
            self.sent_bytes += len(body)
            if self.random.random() >= self.rate:
                return ""
            fault = self.random.choice(self.FAULTS)
            if fault == "broken upload" and not body:
                fault = "503"
            self.faults[fault] += 1
            return fault

    def handle_error(self, request, client_address) -> None:
        """Connections that a fault cut are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's head and body are sent apart: on a connection that is kept the body would wait.
    disable_nagle_algorithm = True
    server: FaultyProxy

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def _pass_on(self) -> None:
        if self.path == "/" or self.path.startswith("/computeMetadata"):
            text = next((text for part, text in _METADATA.items() if part in self.path), "")
            kind = "application/json" if text.startswith("{") else "text/plain"
            headers = {"Metadata-Flavor": "Google", "Content-Type": kind}
            self._answer(200, headers, text.encode())
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if self.command == "GET" and "alt=media" in query:
            self.server.downloads[urllib.parse.unquote(path).partition("/o/")[2]] += 1
        fault = self.server.next_fault(self.command, body)
        if fault in ("429", "503"):
            self._answer(int(fault), {}, b"")
            return
        if self.command == "DELETE" and not self._is_generation_asked_for():
            self._answer(412, {}, b"")
            return
        with self._upstream() as upstream:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in _HOP_BY_HOP
            }
            if fault == "broken upload":
                upstream.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body[: len(body) // 2])
                self._cut()
                return
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
        if fault == "lost answer":
            self._cut()
            return
        self._answer(answer.status, dict(answer.getheaders()), data)

    def _upstream(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        )

    def _is_generation_asked_for(self) -> bool:
        """What the emulator forgets to look at before it deletes an object."""
        path, _, query = self.path.partition("?")
        wanted = urllib.parse.parse_qs(query).get("ifGenerationMatch")
        if wanted is None:
            return True
        with self._upstream() as upstream:
            upstream.request("GET", path)
            return wanted == [json.load(upstream.getresponse()).get("generation")]

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass_on

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in (*_HOP_BY_HOP, "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what failed, the test says."""


@contextlib.contextmanager
def cloud_storage(folder: Path) -> Iterator[FaultyProxy]:
    """An emulator with the bucket ``bucket``, behind a proxy without faults as yet."""
    assert EMULATOR is not None
    proxy = FaultyProxy(_certificate(folder / "certificate.pem"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy.port = free.getsockname()[1]
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(EMULATOR, "-backend=memory", "-scheme=http", "-host=127.0.0.1"),
                *(f"-port={proxy.port}", f"-external-url={proxy.url}"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    serving = threading.Thread(target=proxy.serve_forever, daemon=True)
    serving.start()
    try:
        _create_bucket(proxy.port)
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        process.kill()
        process.wait()


def _certificate(path: Path) -> Path:
    """A key, and a certificate signed by itself for the hosts that TensorFlow asks."""
    names = "DNS:www.googleapis.com,DNS:storage.googleapis.com"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-addext", f"subjectAltName={names}"),
            *("-keyout", str(path), "-out", f"{path}.public"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("a") as file:
        file.write(Path(f"{path}.public").read_text())
    return path


def _create_bucket(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request(
                "POST",
                "/storage/v1/b?project=test",
                b'{"name": "bucket"}',
                {"Content-Type": "application/json"},
            )
            assert connection.getresponse().status == 200
            return
        assert time.monotonic() < deadline, "the emulator did not start"
        time.sleep(0.1)


@contextlib.contextmanager
def s3_storage(folder: Path, content: Mapping[str, bytes]) -> Iterator[str]:
    """The URL of a server whose bucket ``bucket`` holds these files."""
    assert S3_SERVER is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(S3_SERVER), "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _put(f"{url}/bucket", b"", tries=10 * _START_SECONDS)
        for name, data in content.items():
            _put(f"{url}/bucket/{name}", data)
        yield url
    finally:
        server.kill()
        server.wait()


def _put(url: str, data: bytes, tries: int = 1) -> None:
    # moto looks at no signature, but wants to see one.
    sign = "AWS4-HMAC-SHA256 Credential=any/20200101/us-east-1/s3/aws4_request, Signature=any"
    request = urllib.request.Request(
        url, data, {"Authorization": sign, "Content-Type": "application/octet-stream"}, method="PUT"
    )
    while True:
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.URLError:
            tries -= 1
            if tries < 1:
                raise
            time.sleep(0.1)
