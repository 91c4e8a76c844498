"""Any progress model behind HTTP: one judgement at a time, and a short queue before it.

learning:  transition → episode store → **progress model elsewhere** → replay → residual agent

`POST /score` and `POST /about` speak msgpack (see `query_wire`); `GET /health` is JSON for people.
Who finds the queue full is told to come back, so that pressure reaches the labeler instead of
piling up here. Messages are not encrypted: between machines, use an SSH tunnel.
"""

import hmac
import http.server
import ipaddress
import json
import logging
import threading
import time
from dataclasses import asdict, dataclass

from robot_rl.errors import ConfigError, PortError, RobotRLError
from robot_rl.policy.wire import WireError
from robot_rl.reward.progress import ProgressModel
from robot_rl.reward.query_wire import pack_about, pack_estimates, unpack_queries

__all__ = ["MSGPACK", "ScoreServer", "ScoreServerCfg"]

logger = logging.getLogger(__name__)

MSGPACK = "application/msgpack"
_SLOW_CLIENT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class ScoreServerCfg:
    """Where to listen, and how much to take on."""

    host: str = "127.0.0.1"
    """Address to listen at; any other than loopback needs a token."""
    port: int = 8077
    """Port to listen at; 0 takes a free one."""
    queue: int = 8
    """Requests that may wait while one is judged; more are told to come back."""
    max_request_bytes: int = 268_435_456
    """Longer requests are refused unread."""

    def __post_init__(self) -> None:
        """Refuse what could serve nobody."""
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port is {self.port}, but must be within 0 and 65535.")
        for name in ("queue", "max_request_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")


class ScoreServer:
    """Serves one model from threads of this process; close it with `close` or `with`.

    Args:
        model: Judges; asked by one thread at a time.
        cfg: Where, and how much.
        token: What clients must show; "" for none, on loopback only.

    Raises:
        ConfigError: An address other than loopback without a token.
        PortError: The address is taken or not ours.
    """

    def __init__(self, model: ProgressModel, cfg: ScoreServerCfg, token: str = "") -> None:
        if not token and not _is_loopback(cfg.host):
            raise ConfigError(
                f"score server: host is '{cfg.host}' without a token, so anyone could use it. "
                "Give a token, or 127.0.0.1 and an SSH tunnel."
            )
        self.model, self.cfg, self.token = model, cfg, token
        self.turn = threading.Lock()
        self.room = threading.BoundedSemaphore(cfg.queue + 1)
        self.start_s = time.monotonic()
        self.closed = threading.Event()
        try:
            self._http = _Http((cfg.host, cfg.port), _Handler)
        except OSError as error:
            raise PortError(
                f"score server: cannot listen on {cfg.host}:{cfg.port} ({error}). Give another "
                "port."
            ) from error
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="score-server", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.cfg.host}]" if ":" in self.cfg.host else self.cfg.host
        return f"http://{host}:{self._http.server_address[1]}"

    def wait(self) -> None:
        """Return when the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """Stop listening. Calling it twice is harmless."""
        self.closed.set()  # clients that are still connected are turned away
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def __enter__(self) -> "ScoreServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the reply to a POST."""
        model = self.model
        try:
            if path == "/about":
                return 200, pack_about(model.model_id, model.version, model.capabilities)
            if path != "/score":
                return 404, b"unknown path. Available: /about, /score."
            queries = unpack_queries(body)
            with self.turn:
                return 200, pack_estimates(model.score(queries))
        except WireError as error:
            return 400, str(error).encode()
        except RobotRLError as error:
            logger.warning("score server: %s", error)
            return 422, str(error).encode()

    def health(self) -> bytes:
        """What it serves, for people."""
        row = {
            "model_id": self.model.model_id,
            "version": self.model.version,
            "capabilities": asdict(self.model.capabilities),
            "up_s": round(time.monotonic() - self.start_s, 1),
        }
        return json.dumps(row, indent=2).encode() + b"\n"


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: ScoreServer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SLOW_CLIENT_S
    server: _Http

    def do_GET(self) -> None:
        """Health."""
        if not self._is_welcome():
            return
        if self.path == "/health":
            self._reply(200, self.server.owner.health(), "application/json")
        else:
            self._reply(404, b"unknown path. Available: /health.", "text/plain")

    def do_POST(self) -> None:
        """Scores, and what the model is."""
        owner = self.server.owner
        if not self._is_welcome():
            return
        length = self.headers.get("Content-Length", "")
        if owner.closed.is_set():
            self._refuse(503, "the server is closed.")
        elif not length.isdecimal() or len(length) > 12:
            self._refuse(411, "a request needs its Content-Length.")
        elif int(length) > owner.cfg.max_request_bytes:
            self._refuse(413, f"a request may have {owner.cfg.max_request_bytes} bytes.")
        elif not owner.room.acquire(blocking=False):
            self.rfile.read(int(length))  # so that the connection can be used again
            self._reply(503, b"busy. Come back in a moment.", "text/plain", retry_after_s=1)
        else:
            try:
                status, body = owner.answer(self.path, self.rfile.read(int(length)))
            finally:
                owner.room.release()
            self._reply(status, body, MSGPACK if status == 200 else "text/plain")

    def _is_welcome(self) -> bool:
        shown = self.headers.get("Authorization", "")
        wanted = f"Bearer {self.server.owner.token}"
        if self.server.owner.token and not hmac.compare_digest(shown.encode(), wanted.encode()):
            self._refuse(401, "this token is not the server's.")
            return False
        return True

    def _refuse(self, status: int, why: str) -> None:
        """Answer without reading the request, which ends the connection."""
        self.close_connection = True
        self._reply(status, why.encode(), "text/plain")

    def _reply(
        self, status: int, body: bytes, content_type: str, retry_after_s: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests go to the log, not to the terminal."""
        logger.debug(format, *args)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
