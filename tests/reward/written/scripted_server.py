"""A language model that plays a script, behind a real server."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ScriptedServer:
    """A real server on loopback; `say(prompt, draft)` gives an answer, or None: 503."""

    def __init__(self, say):
        self.prompts = []
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                (part,) = body["messages"][0]["content"]
                with lock:
                    outer.prompts.append(part["text"])
                    outer.temperature = body["temperature"]
                draft = int(re.search(r"This is draft (\d+) of", part["text"])[1])
                text = say(part["text"], draft - 1)
                message = {"role": "assistant", "content": text}
                row = {"choices": [{"message": message, "finish_reason": "stop"}]}
                content = json.dumps(row).encode()
                if body["model"] != "writer":
                    self.send_response(404)
                    content = b"no such model; see /v1/models"
                else:
                    self.send_response(200 if text is not None else 503)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Clients that are killed are part of these tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
