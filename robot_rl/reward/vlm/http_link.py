"""One HTTP exchange with a deadline and a limit on what is read back.

The standard library is enough; connections are kept open between requests. Whatever goes wrong on
the way is a `LinkError` that says whether asking again makes sense.
"""

import http.client
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from robot_rl.errors import ConfigError, RobotRLError

__all__ = ["Exchange", "HttpLink", "LinkError"]

_CHUNK_BYTES = 65536


class LinkError(RobotRLError):
    """A request was not answered: no connection, no whole reply in time, or one too long."""

    def __init__(self, message: str, *, worth_retrying: bool) -> None:
        super().__init__(message)
        self.worth_retrying = worth_retrying


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What came back."""

    status: int
    retry_after_s: float | None
    body: bytes


class HttpLink:
    """Posts to one server; safe to use from many threads."""

    def __init__(self, url: str, headers: Mapping[str, str], max_reply_bytes: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"url is {url!r}, but must be like http://127.0.0.1:8000/v1.")
        self._parts = parts
        self._headers = dict(headers)
        self._max_reply_bytes = max_reply_bytes
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._closed = False

    def post(self, path: str, body: bytes, content_type: str, timeout_s: float) -> Exchange:
        """Post `body` to `path` below the url and read the reply.

        Raises:
            LinkError: No whole reply in time.
        """
        deadline_s = time.monotonic() + timeout_s
        connection = self._take(timeout_s)
        keep = False
        try:
            target = self._parts.path.rstrip("/") + path
            headers = {**self._headers, "Content-Type": content_type}
            connection.request("POST", target, body=body, headers=headers)
            response = connection.getresponse()
            content = self._read(connection, response, deadline_s)
            keep = not response.will_close
        except TimeoutError as error:
            raise LinkError(f"no reply within {timeout_s:.3g} s", worth_retrying=True) from error
        except (OSError, http.client.HTTPException) as error:
            raise LinkError(f"the connection failed: {error!r}", worth_retrying=True) from error
        finally:
            self._give_back(connection, keep)
        return Exchange(
            status=response.status,
            retry_after_s=_seconds(response.getheader("Retry-After")),
            body=content,
        )

    def close(self) -> None:
        """Close all connections; who waits for a reply gets a `LinkError` now."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            for connection in self._busy:
                if connection.sock is not None:
                    with suppress(OSError):  # it may have gone by itself
                        connection.sock.shutdown(socket.SHUT_RDWR)

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that nobody else uses, kept from before or new."""
        with self._lock:
            if self._closed:
                raise LinkError("the link is closed", worth_retrying=False)
            if self._idle:
                connection = self._idle.pop()
            else:
                secure = self._parts.scheme == "https"
                kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
                connection = kind(str(self._parts.hostname), self._parts.port)
            self._busy.add(connection)
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        return connection

    def _give_back(self, connection: http.client.HTTPConnection, keep: bool) -> None:
        """Keep it if its reply was read to the end: what is left in it belongs to no request."""
        with self._lock:
            self._busy.discard(connection)
            if keep and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _read(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        deadline_s: float,
    ) -> bytes:
        content, expected = bytearray(), response.length  # None if it comes in chunks
        while expected is None or len(content) < expected:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError  # a server that sends a byte now and then must not hold us
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
            part = response.read1(_CHUNK_BYTES)
            if not part:
                break
            content += part
            if len(content) > self._max_reply_bytes:
                raise LinkError(
                    f"the reply is longer than {self._max_reply_bytes} bytes", worth_retrying=False
                )
        response.close()
        if expected is not None and len(content) < expected:
            raise LinkError("the reply was cut off", worth_retrying=True)
        return bytes(content)


def _seconds(header: str | None) -> float | None:
    """A Retry-After header in seconds; dates and garbage are ignored."""
    if header is None or not header.strip().isdecimal():
        return None
    return float(header.strip()[:9])
