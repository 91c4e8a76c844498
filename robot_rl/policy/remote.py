"""A base policy that runs elsewhere: the client that acts by it, and the server that offers it.

command:   observe → **base on another process or machine** → + residual → decode → safety → send

The client never waits longer than its timeout: a late plan is an error that the caller answers by
holding the robot, never an old action. For how messages look, see `wire.py`.
"""

import contextlib
import hmac
import ipaddress
import logging
import socket
import threading
from types import TracebackType
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, NonFiniteError, RobotRLError, ShapeError
from robot_rl.policy import wire
from robot_rl.policy.base import BasePolicy, Observation
from robot_rl.types import F32

__all__ = ["PolicyServer", "RemotePolicy", "serve"]

logger = logging.getLogger(__name__)

_IDLE_TIMEOUT_S = 600.0  # a client that says nothing for so long is taken for dead
_SEND_TIMEOUT_S = 10.0
_MAX_CLIENTS = 8


class RemotePolicy:
    """The policy behind `host:port`, as if it were here. The first use connects."""

    def __init__(
        self, host: str = "127.0.0.1", *, port: int, token: str = "", timeout_s: float = 1.0
    ) -> None:
        """Remember the address; `token` is what the server was started with."""
        self._address = (host, port)
        self._token = token
        self._timeout_s = timeout_s
        self._link: socket.socket | None = None
        self._chunk = 0

    @property
    def chunk(self) -> int:
        """Actions that one plan holds; asks the server if it was not asked yet."""
        if self._chunk == 0:
            self.connect()
        return self._chunk

    def connect(self) -> None:
        """Open the connection, and ask what the policy is. Calling it twice is harmless.

        Raises:
            PolicyLinkError: Nobody listens there.
            PolicyTimeoutError: The server did not answer in time.
            RemotePolicyError: The server refuses this client.
        """
        if self._link is not None:
            return
        try:
            self._link = socket.create_connection(self._address, self._timeout_s)
        except TimeoutError as error:
            raise wire.PolicyTimeoutError(self._about("did not answer")) from error
        except OSError as error:
            raise wire.PolicyLinkError(self._about(f"cannot be reached ({error})")) from error
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        spec = self._ask("hello", "spec", token=self._token)
        if type(spec.get("chunk")) is not int or spec["chunk"] < 1:
            self.close()
            raise wire.WireError(f"the server's chunk is {spec.get('chunk')!r}, not a size >= 1.")
        self._chunk = spec["chunk"]

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def reset(self) -> None:
        """Tell the server that an episode starts; see `act` for what it raises."""
        self.connect()
        self._ask("reset", "done")

    def act(self, obs: Observation) -> F32:
        """The server's plan (chunk, a) for this observation.

        Raises:
            PolicyTimeoutError: The plan was not there in time; hold the robot.
            PolicyLinkError: The server has gone.
            RemotePolicyError: The server refused the observation.
            ShapeError: The plan is not (chunk, a).
            NonFiniteError: The plan holds NaN or infinity.
        """
        self.connect()
        answer = self._ask("act", "plan", obs=wire.pack_observation(obs))
        plan = np.array(wire.unpack_array(answer.get("plan")), np.float32)
        if plan.ndim != 2 or len(plan) != self._chunk:
            raise ShapeError("remote policy: plan", plan.shape, (self._chunk, -1))
        if not np.isfinite(plan).all():
            raise NonFiniteError("remote policy: plan", plan, "Stop, and look at the server.")
        return plan

    def _ask(self, kind: str, expected: str, **fields: Any) -> dict[str, Any]:
        """One request and its answer.

        After any failure the connection is closed, so that a late answer is never taken for that
        to the next request.
        """
        link = self._link
        assert link is not None  # every caller connects first
        try:
            wire.send(link, wire.pack(kind, **fields), self._timeout_s)
            answer = wire.receive(link, self._timeout_s)
        except (wire.PolicyTimeoutError, wire.PolicyLinkError) as error:
            self.close()
            raise type(error)(self._about(str(error))) from error
        except wire.WireError:
            self.close()
            raise
        if answer["kind"] != expected:
            if kind == "hello":
                self.close()
            raise wire.RemotePolicyError(self._about(f"refused: {answer.get('message')}"))
        return answer

    def _about(self, what: str) -> str:
        host, port = self._address
        return f"policy server {host}:{port} {what} Start it, or check address and token."


class PolicyServer:
    """Offers one policy to clients, one request at a time; closes with `close` or `with`.

    A policy that remembers its episode must have one client only.
    """

    def __init__(self, policy: BasePolicy, listener: socket.socket, token: str) -> None:
        self._policy = policy
        self._listener = listener
        self._token = token
        self._turn = threading.Lock()
        self._links: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="policy-server", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._listener.getsockname()[1]

    def wait(self) -> None:
        """Return when the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """Stop listening, and close all connections."""
        # Shutting down, and not closing alone, wakes the threads that wait in accept and recv.
        for link in (self._listener, *tuple(self._links)):
            _wake(link)
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> "PolicyServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        clients: list[threading.Thread] = []
        while True:
            try:
                link, address = self._listener.accept()
            except OSError:
                break  # closed
            clients = [client for client in clients if client.is_alive()]
            if len(clients) >= _MAX_CLIENTS:
                logger.warning("policy server: %s refused, %d clients", address, len(clients))
                link.close()
                continue
            self._links.add(link)
            client = threading.Thread(target=self._talk, args=(link,), daemon=True)
            client.start()
            clients.append(client)
        for client in clients:
            client.join()

    def _talk(self, link: socket.socket) -> None:
        """Answer one client until it goes or says something that is not ours."""
        is_known = False
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                request = wire.receive(link, _IDLE_TIMEOUT_S if is_known else _SEND_TIMEOUT_S)
                if not is_known and not self._is_welcome(request):
                    wire.send(link, _refusal("this token is not the server's."), _SEND_TIMEOUT_S)
                    return
                is_known = True
                wire.send(link, self._answer(request), _SEND_TIMEOUT_S)
        except wire.WireError as error:
            logger.warning("policy server: %s", error)
            self._say_last(link, str(error))
        except (wire.PolicyLinkError, wire.PolicyTimeoutError) as error:
            logger.info("policy server: a client left: %s", error)
        finally:
            self._links.discard(link)
            link.close()

    def _is_welcome(self, request: dict[str, Any]) -> bool:
        token = request.get("token")
        return (
            request["kind"] == "hello"
            and isinstance(token, str)
            and hmac.compare_digest(token.encode(), self._token.encode())
        )

    def _answer(self, request: dict[str, Any]) -> bytes:
        """The answer to a request of a known client; what the policy refuses is told it."""
        with self._turn:
            try:
                match request["kind"]:
                    case "hello":
                        return wire.pack("spec", chunk=self._policy.chunk)
                    case "reset":
                        self._policy.reset()
                        return wire.pack("done")
                    case "act":
                        plan = self._policy.act(wire.unpack_observation(request.get("obs")))
                        return wire.pack(
                            "plan", plan=wire.pack_array(np.asarray(plan, np.float32))
                        )
                    case kind:
                        return _refusal(f"unknown request '{kind}'. Available: act, hello, reset.")
            except wire.WireError:
                raise
            except RobotRLError as error:
                return _refusal(str(error))

    @staticmethod
    def _say_last(link: socket.socket, message: str) -> None:
        """Tell the client why it is left, if it still listens."""
        try:
            wire.send(link, _refusal(message), _SEND_TIMEOUT_S)
        except (wire.PolicyLinkError, wire.PolicyTimeoutError):
            logger.info("policy server: the client did not wait for the reason")


def serve(
    policy: BasePolicy, host: str = "127.0.0.1", port: int = 0, *, token: str = ""
) -> PolicyServer:
    """Offer `policy` at `host:port` from threads of this process; port 0 takes a free one.

    Messages are not encrypted: between machines, use an SSH tunnel or a network of your own.

    Raises:
        ConfigError: An address other than loopback without a token.
        PolicyLinkError: The address is taken or not ours.
    """
    if not token and not _is_loopback(host):
        raise ConfigError(
            f"policy server: host is '{host}' without a token, so anyone could use it. Give a "
            "token, or 127.0.0.1 and an SSH tunnel."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise wire.PolicyLinkError(
            f"policy server: cannot listen on {host}:{port} ({error}). Give another port."
        ) from error
    return PolicyServer(policy, listener, token)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(message: str) -> bytes:
    return wire.pack("refused", message=message)


def _wake(link: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was not connected any more
        link.shutdown(socket.SHUT_RDWR)
