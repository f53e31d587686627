"""An S3 server for tests: moto, behind a layer that keeps a log and misbehaves on request."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from corpus.store.cloud import connect
from corpus.store.s3 import _session

BUCKET = "bucket"


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    range: str  # the Range header
    if_none_match: str


class ObjectServer:
    """A running server.

    requests          the log
    signed            the header Authorization of each request
    hook              sees each request first; it may wait, or answer with a status and a body
    drops_conditions  ignore If-None-Match, as some gateways do
    breaks            number of the next GETs that send half of their body and close the connection
    loses             number of the next PUTs that are carried out and answered with an error
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        class Handler(MotoRequestHandler):
            def log(self, *arguments: object) -> None:
                """Keep the tests' output quiet."""

        self.requests: list[Request] = []
        self.signed: list[str] = []
        self.hook: Callable[[Request], tuple[str, bytes] | None] | None = None
        self.drops_conditions = False
        self.breaks = 0
        self.loses = 0
        self._app = DomainDispatcherApplication(create_backend_app)
        self._one_by_one = threading.Lock()  # moto looks first and writes then; a real store does both in one step
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fill(self, keys: Iterable[str]) -> None:
        """Put empty objects into the bucket, without a request for each."""
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]
        for key in keys:
            backend.put_object(BUCKET, key, b"")

    def ranges(self) -> list[tuple[int, int]]:
        """(first, last) byte of each ranged GET so far."""
        spans = [request.range.removeprefix("bytes=").split("-") for request in self.requests if request.range]
        return [(int(first), int(last)) for first, last in spans]

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True),
            environ.get("HTTP_RANGE", ""),
            environ.get("HTTP_IF_NONE_MATCH", ""),
        )
        self.requests.append(request)
        self.signed.append(environ.get("HTTP_AUTHORIZATION", ""))
        answer = self.hook(request) if self.hook else None
        if answer is not None:
            length = environ.get("CONTENT_LENGTH")
            environ["wsgi.input"].read(int(length) if length else 0)
            start_response(answer[0], [("Content-Type", "application/xml"), ("Content-Length", str(len(answer[1])))])
            return [answer[1]]
        if self.drops_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if request.method == "PUT" and self.loses:
            self.loses -= 1
            b"".join(self._app(environ, lambda *_: None))
            start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [error("InternalError")]
        with self._one_by_one if request.if_none_match else contextlib.nullcontext():
            body = b"".join(self._app(environ, start_response))
        if request.method == "GET" and self.breaks:
            self.breaks -= 1
            return [body[: len(body) // 2]]
        return [body]


def error(code: str, message: str = "asked for") -> bytes:
    """The XML of an S3 error."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def forget() -> None:
    """Let the next storage make its connection anew."""
    connect.cache_clear()
    _session.cache_clear()


@contextlib.contextmanager
def object_server() -> Iterator[ObjectServer]:
    """A running server with an empty bucket."""
    import boto3

    server = ObjectServer()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        forget()
        yield server
    finally:
        forget()
        server.close()
