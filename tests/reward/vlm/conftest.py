"""Tiny checkpoints, made once for each process, and queries to ask them about."""

import importlib.util
import json
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from robot_rl.reward.progress import ProgressQuery
from robot_rl.reward.vlm.server import ServerCfg, ServerEngine

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def tiny_models():
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("tiny_models", HERE / "tiny_models.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_models"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", params=["qwen2_5", "qwen3"])
def vlm_folder(request, tiny_models, tmp_path_factory):
    return getattr(tiny_models, request.param)(tmp_path_factory.mktemp("hf") / request.param)


@pytest.fixture(scope="session")
def qwen3_folder(tiny_models, tmp_path_factory):
    return tiny_models.qwen3(tmp_path_factory.mktemp("hf") / "qwen3")


@pytest.fixture(scope="session", params=["clip", "siglip"])
def image_text_folder(request, tiny_models, tmp_path_factory):
    return getattr(tiny_models, request.param)(tmp_path_factory.mktemp("hf") / request.param)


@pytest.fixture(scope="session")
def make_query():
    def make(count=4, cameras=("front",), goal=False, seed=0, task="put the cube away"):
        rng = np.random.default_rng(seed)

        def image(*lead):
            return rng.integers(0, 256, (*lead, 40, 48, 3), dtype=np.uint8)

        return ProgressQuery(
            stamps_s=np.arange(count) * 0.5,
            task=task,
            frames={name: image(count) for name in cameras},
            goal={name: image() for name in cameras} if goal else {},
        )

    return make


class ChatServer:
    """A real server on loopback that answers chat requests as `say(body)` decides.

    `say` gives the answer's text, a dict (the whole JSON reply), or a function that writes to the
    handler itself.
    """

    def __init__(self, say):
        self.say, self.bodies, self.headers = say, [], []
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                said = outer.say(body)
                with outer._lock:
                    outer.under_way -= 1
                if callable(said):
                    said(self)
                    return
                row = said if isinstance(said, dict) else chat_reply(said)
                self.reply(200, json.dumps(row).encode())

            def reply(self, status, content, **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Clients that hang up are part of these tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def chat_reply(text, finish="stop"):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": finish}]}


@pytest.fixture
def serve():
    """Start a server, or an engine that asks one: `serve(say).engine(...)`."""
    with ExitStack() as stack:

        def start(say):
            server = ChatServer(say)
            stack.callback(server.close)
            defaults = {"url": server.url, "model": "judge", "backoff_s": 0.001}
            defaults |= {"timeout_s": 20.0, "deadline_s": 20.0}

            def engine(**settings):
                return stack.enter_context(ServerEngine(ServerCfg(**{**defaults, **settings})))

            server.engine = engine
            return server

        yield start


@pytest.fixture(scope="session")
def words_of():
    """The text a server was asked, with {image} and {video} where those were."""

    def words(body):
        short = {"image_url": "{image}", "video_url": "{video}"}
        rows = [row for message in body["messages"] for row in content(message)]
        return "\n".join(row.get("text", short.get(row["type"])) for row in rows)

    def content(message):
        rows = message["content"]
        return [{"type": "text", "text": rows}] if isinstance(rows, str) else rows

    return words
