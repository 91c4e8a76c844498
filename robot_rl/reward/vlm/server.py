"""A vision-language model behind any OpenAI-compatible server, such as vLLM.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Requests of all callers share one bounded queue and a few connections; the server batches what
arrives together. Who asks for more than fits waits, up to the deadline: pressure reaches the
labeler, and never the robot. What is refused or lost on the way is asked again, later and later;
what is still missing at the deadline is a reply that says so.
"""

import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from robot_rl.errors import ConfigError
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest
from robot_rl.reward.vlm.chat_wire import payloads, read_reply
from robot_rl.reward.vlm.http_link import HttpLink, LinkError

__all__ = ["ServerCfg", "ServerEngine"]

logger = logging.getLogger(__name__)

_BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be another one in a moment."""

_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class ServerCfg:
    """Where the server is, and how patiently it is asked."""

    url: str = "http://127.0.0.1:8000/v1"
    """The server's OpenAI-compatible interface."""
    model: str = ""
    """Name of the model as the server knows it."""
    api_key_variable: str = ""
    """Environment variable that holds the key; "" for none. The key itself is never stored."""
    vllm: bool = True
    """The server understands vLLM's extensions: begun answers, films, likelihood of a text."""
    connections: int = 8
    """Requests under way at a time; the server batches them."""
    queue: int = 64
    """Requests that may wait; more make their callers wait."""
    timeout_s: float = 60.0
    """Longest time for one attempt."""
    deadline_s: float = 300.0
    """Longest time for a whole call, queue and retries included."""
    retries: int = 4
    """Further attempts after a refusal, a time-out or a lost connection."""
    backoff_s: float = 0.5
    """Pause before the second attempt; doubles each time, half of it drawn at random."""
    max_pixels: int = 76_800
    """Larger images are shrunk to this many pixels before they are sent."""
    max_reply_bytes: int = 4_194_304
    """Longer replies are refused."""

    def __post_init__(self) -> None:
        """Refuse what could never be answered."""
        if not self.model:
            raise ConfigError("model is '', but must be a name. GET /v1/models lists them.")
        for name in ("connections", "queue", "max_pixels", "max_reply_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")
        for name in ("timeout_s", "deadline_s"):
            if not 0 < getattr(self, name) < 1e5:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, but must be within 0 and 1e5."
                )
        if self.retries < 0 or not self.backoff_s >= 0:
            raise ConfigError(
                f"retries is {self.retries} and backoff_s {self.backoff_s}, but neither may be "
                "negative."
            )


class ServerEngine:
    """Answers requests over HTTP; safe to use from many threads."""

    def __init__(self, cfg: ServerCfg) -> None:
        self.cfg = cfg
        headers = {}
        if cfg.api_key_variable:
            headers["Authorization"] = f"Bearer {os.environ.get(cfg.api_key_variable, '')}"
        self._link = HttpLink(cfg.url, headers, cfg.max_reply_bytes)
        self._room = threading.BoundedSemaphore(cfg.queue)
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(cfg.connections, thread_name_prefix="vlm-server")

    @property
    def model_id(self) -> str:
        """The model's name on the server."""
        return self.cfg.model

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """One reply for each request, in order, at the latest at the deadline."""
        deadline_s = time.monotonic() + self.cfg.deadline_s
        futures = [self._submit(request, deadline_s) for request in requests]
        return [self._collect(future, deadline_s) for future in futures]

    def close(self) -> None:
        """Give up what is waiting. Calling it twice is harmless."""
        self._closed.set()
        self._link.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "ServerEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, request: ChatRequest, deadline_s: float) -> "Future[ChatReply] | ChatReply":
        """Queue a request, waiting for room."""
        if not self._room.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
            return ChatReply(failure="the queue was full until the deadline")
        if self._closed.is_set():
            self._room.release()
            return ChatReply(failure="the engine is closed")
        future = self._pool.submit(self._attend, request, deadline_s, time.monotonic())
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _collect(self, future: "Future[ChatReply] | ChatReply", deadline_s: float) -> ChatReply:
        if isinstance(future, ChatReply):
            return future
        try:
            return future.result(timeout=max(0.0, deadline_s - time.monotonic()))
        except TimeoutError:
            future.cancel()
            return ChatReply(failure="no reply before the deadline")
        except CancelledError:
            return ChatReply(failure="the engine was closed")

    def _attend(self, request: ChatRequest, deadline_s: float, start_s: float) -> ChatReply:
        """Ask until there is an answer, no hope, or no time."""
        try:
            bodies = payloads(
                request, self.cfg.model, max_pixels=self.cfg.max_pixels, vllm=self.cfg.vllm
            )
            found = [self._ask(json.dumps(body).encode(), deadline_s) for body in bodies]
        except (ConfigError, LinkError) as error:
            logger.debug("request failed: %s", error)
            return ChatReply(failure=str(error), latency_s=time.monotonic() - start_s)
        return replace(read_reply(request, found), latency_s=time.monotonic() - start_s)

    def _ask(self, body: bytes, deadline_s: float) -> bytes:
        """The body of a good answer.

        Raises:
            LinkError: There was none in time.
        """
        attempt = 0
        while True:
            pause_s = self.cfg.backoff_s * 2**attempt * random.uniform(0.5, 1.0)
            try:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise LinkError("no time left before the deadline", worth_retrying=False)
                timeout_s = min(self.cfg.timeout_s, left_s)
                answer = self._link.post("/chat/completions", body, "application/json", timeout_s)
                if answer.status == 200:
                    return answer.body
                said = answer.body[:300].decode(errors="replace")
                pause_s = max(pause_s, answer.retry_after_s or 0.0)
                raise LinkError(
                    f"the server answers {answer.status}: {said}",
                    worth_retrying=answer.status in _BUSY,
                )
            except LinkError as error:
                attempt += 1
                pause_s = min(pause_s, _LONGEST_PAUSE_S)
                in_time = time.monotonic() + pause_s < deadline_s
                if attempt > self.cfg.retries or not error.worth_retrying or not in_time:
                    raise
            if self._closed.wait(pause_s):
                raise LinkError("the engine was closed", worth_retrying=False)
