"""A progress model that runs elsewhere, as if it were here.

learning:  transition → episode store → **progress model elsewhere** → replay → residual agent

The other side is `robot-rl reward serve`. What does not come back in time is invalid, never a
number.
"""

import math
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robot_rl.config import save_config
from robot_rl.errors import ConfigError
from robot_rl.policy.wire import WireError
from robot_rl.reward.progress import Capabilities, ProgressEstimate, ProgressQuery
from robot_rl.reward.query_wire import pack_queries, unpack_about, unpack_estimates
from robot_rl.reward.score_server import MSGPACK
from robot_rl.reward.vlm.http_link import HttpLink, LinkError

__all__ = ["REMOTE_FILE", "RemoteCfg", "RemoteModel"]

REMOTE_FILE = "remote.json"
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class RemoteCfg:
    """Where the server is, and how patiently it is asked."""

    url: str = "http://127.0.0.1:8077"
    """What `robot-rl reward serve` printed."""
    token_variable: str = ""
    """Environment variable that holds the token; "" for none. It is never stored."""
    timeout_s: float = 60.0
    """Longest time for one call, retries included."""
    batch: int = 16
    """Most queries in one request."""
    about_every_s: float = 10.0
    """How often the server is asked whether its model has changed."""
    max_reply_bytes: int = 67_108_864
    """Longer replies are refused."""

    def __post_init__(self) -> None:
        """Refuse what could never be answered."""
        if not 0 < self.timeout_s < 1e5:
            raise ConfigError(f"timeout_s is {self.timeout_s}, but must be within 0 and 1e5.")
        if not self.about_every_s >= 0:
            raise ConfigError(f"about_every_s is {self.about_every_s}, but must be >= 0.")
        for name in ("batch", "max_reply_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be >= 1.")


class RemoteModel:
    """The `ProgressModel` behind a url; the first use connects."""

    def __init__(self, cfg: RemoteCfg) -> None:
        self.cfg = cfg
        token = os.environ.get(cfg.token_variable, "") if cfg.token_variable else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._link = HttpLink(cfg.url, headers, cfg.max_reply_bytes)
        self._lock = threading.Lock()
        self._about: tuple[str, int, Capabilities] | None = None
        self._asked_s = -math.inf

    @property
    def model_id(self) -> str:
        """Which model the server has.

        Raises:
            LinkError: The server cannot be reached and never was.
        """
        return self._known()[0]

    @property
    def version(self) -> int:
        """How often it was trained.

        Raises:
            LinkError: The server cannot be reached and never was.
        """
        return self._known()[1]

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked.

        Raises:
            LinkError: The server cannot be reached and never was.
        """
        return self._known()[2]

    def score(self, queries: Sequence[ProgressQuery]) -> list[ProgressEstimate]:
        """Judge each query; what the server does not answer in time comes back invalid."""
        found: list[ProgressEstimate] = []
        for first in range(0, len(queries), self.cfg.batch):
            part = queries[first : first + self.cfg.batch]
            start_s = time.monotonic()
            try:
                rows = unpack_estimates(self._post("/score", pack_queries(part)))
                if [len(row) for row in rows] != [len(query) for query in part]:
                    raise WireError("the answers are of other frames than the questions.")
            except (LinkError, WireError) as error:
                rows = [self._invalid(query, str(error)) for query in part]
            took_s = time.monotonic() - start_s
            found += [replace(row, latency_s=took_s) for row in rows]
        if any(self._about and row.version != self._about[1] for row in found):
            self._asked_s = -math.inf  # the server has another model now
        return found

    def save(self, folder: Path) -> Path:
        """Write where the server is."""
        folder.mkdir(parents=True, exist_ok=True)
        save_config(folder / REMOTE_FILE, self.cfg)
        return folder

    def close(self) -> None:
        """Close the connections. Calling it twice is harmless."""
        self._link.close()

    def __enter__(self) -> "RemoteModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _invalid(self, query: ProgressQuery, why: str) -> ProgressEstimate:
        model_id, version = (self._about or ("", -1))[:2]
        return ProgressEstimate.invalid(
            len(query), model_id=model_id, version=version, raw_text=why
        )

    def _known(self) -> tuple[str, int, Capabilities]:
        """What the server said it is; asked again now and then."""
        with self._lock:
            if self._about is None or time.monotonic() - self._asked_s > self.cfg.about_every_s:
                try:
                    self._about = unpack_about(self._post("/about", b""))
                except (LinkError, WireError):
                    if self._about is None:
                        raise
                self._asked_s = time.monotonic()
            return self._about

    def _post(self, path: str, body: bytes) -> bytes:
        """The body of a good answer; a busy server is asked again until the time is over."""
        deadline_s = time.monotonic() + self.cfg.timeout_s
        pause_s = 0.05
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise LinkError(f"{self.cfg.url} is busy", worth_retrying=True)
            try:
                answer = self._link.post(path, body, MSGPACK, left_s)
                if answer.status == 200:
                    return answer.body
                said = answer.body[:300].decode(errors="replace")
                raise LinkError(
                    f"{self.cfg.url} answers {answer.status}: {said}",
                    worth_retrying=answer.status == 503,
                )
            except LinkError as error:
                if not error.worth_retrying or time.monotonic() + pause_s >= deadline_s:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
