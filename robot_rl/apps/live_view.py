"""The scene in a browser while somebody steers: pictures from this process, to this machine only.

    environment → spectator → JPEG → http://127.0.0.1:<port> → a person's eyes

Over SSH, forward the port: `ssh -L 8000:127.0.0.1:8000 robot`.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import gymnasium as gym

from robot_rl.apps.spectator import Spectator
from robot_rl.errors import ConfigError

__all__ = ["LiveView"]

FASTEST_S = 0.1
LARGEST_SHARE = 0.3
"""Share of the loop's time that pictures may take: steering goes before looking."""
JPEG_QUALITY = 80

PAGE = b"""<!doctype html><title>robot-rl record</title>
<body style="margin:0;background:#1b2230;display:grid;place-items:center;height:100vh">
<img src="/stream" alt="the scene" style="width:min(96vw,128vh)">
"""


class LiveView:
    """Serves the newest picture to any number of browsers. Use as a context manager.

    `show` is called from the thread that owns the environment: renderers belong to one thread.
    """

    def __init__(self, env: gym.Env[Any, Any], port: int) -> None:
        """Show `env` on a port of this machine; port 0 takes a free one."""
        self._spectator, self._port = Spectator(env), port
        self._fresh = threading.Condition()
        self._jpeg = b""
        self._is_open = True
        self._next_s = 0.0

    def __enter__(self) -> "LiveView":
        """Start serving.

        Raises:
            ConfigError: The port is taken.
        """
        view = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                view.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Not onto the operator's screen."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        except OSError as error:
            raise ConfigError(
                f"port {self._port} cannot be used ({error}). Give another --view."
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()
        return self

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def show(self) -> None:
        """Take a picture if one is due; pictures never take more than their share of time."""
        import cv2

        begin_s = time.monotonic()
        if begin_s < self._next_s:
            return
        picture = self._spectator.picture()
        done, data = cv2.imencode(
            ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        took_s = time.monotonic() - begin_s
        self._next_s = begin_s + max(FASTEST_S, took_s / LARGEST_SHARE)
        if done:
            with self._fresh:
                self._jpeg = data.tobytes()
                self._fresh.notify_all()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one browser: the page, or pictures as long as it looks."""
        if request.path != "/stream":
            request.send_response(200)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.end_headers()
            request.wfile.write(PAGE)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        while self._is_open:
            with self._fresh:
                self._fresh.wait(timeout=1.0)
                jpeg = self._jpeg
            head = "--frame\r\nContent-Type: image/jpeg\r\n"
            head += f"Content-Length: {len(jpeg)}\r\n\r\n"
            try:
                request.wfile.write(head.encode() + jpeg + b"\r\n")
            except ConnectionError:
                return  # the browser has gone

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving and release the renderer."""
        with self._fresh:
            self._is_open = False
            self._fresh.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._spectator.close()
