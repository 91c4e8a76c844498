"""One table of what to press, for every device: read by the devices, and printed on the screen.

command:   **person → device** → mapping → decode → safety → send
"""

from dataclasses import dataclass

from robot_rl.teleop.devices.device import Event

__all__ = ["ARROWS", "KEYMAP", "Binding", "key_events", "key_motions", "legend"]

ARROWS = {"↑": "\x1b[A", "↓": "\x1b[B", "→": "\x1b[C", "←": "\x1b[D"}
"""What a terminal sends for the arrow keys."""

_SHOWN = {"\n": "Enter", " ": "Space", "\t": "Tab", "\x7f": "Backspace", "\x1b": "Esc"}
_SHOWN |= {code: arrow for arrow, code in ARROWS.items()}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One line of the keymap.

    Attributes:
        does: For the person.
        keys: What the keyboard sends; any of them.
        gamepad: Name of a button or axis on a gamepad of the Xbox layout.
        spacemouse: What to do with the cap or its buttons.
        event: What it asks of the recorder, if anything.
        motion: (axis, sign) of the twist that the keys press, if any.
    """

    does: str
    keys: tuple[str, ...] = ()
    gamepad: str = ""
    spacemouse: str = ""
    event: Event | None = None
    motion: tuple[int, int] | None = None


def _moves(axis: int, does: str, plus: str, minus: str, gamepad: str) -> tuple[Binding, ...]:
    """The two lines of one axis; `does` reads "plus / minus"."""
    words = does.split(" / ")
    return tuple(
        Binding(
            does=word,
            keys=tuple(keys),
            gamepad=gamepad,
            spacemouse=f"{'push' if axis < 3 else 'turn'} the cap",
            motion=(axis, sign),
        )
        for word, keys, sign in zip(words, (plus.split(), minus.split()), (1, -1), strict=True)
    )


KEYMAP: tuple[Binding, ...] = (
    *_moves(0, "forward / back", f"w {ARROWS['↑']}", f"s {ARROWS['↓']}", "left stick"),
    *_moves(1, "left / right", f"a {ARROWS['←']}", f"d {ARROWS['→']}", "left stick"),
    *_moves(2, "up / down", "r", "f", "right stick"),
    *_moves(3, "roll + / roll -", "o", "u", "d-pad"),
    *_moves(4, "pitch + / pitch -", "i", "k", "d-pad"),
    *_moves(5, "yaw + / yaw -", "j", "l", "right stick"),
    Binding(does="open or close the gripper", keys=("g",), gamepad="RT", spacemouse="left button"),
    Binding(does="other arm", keys=("\t",), gamepad="L3", spacemouse="right button"),
    Binding(does="hold to move (clutch)", gamepad="LB", spacemouse="by pushing the cap"),
    Binding(does="start", keys=("\n",), gamepad="start", event=Event.START),
    Binding(does="success", keys=("y",), gamepad="Y", event=Event.SUCCESS),
    Binding(does="failure", keys=("n",), gamepad="A", event=Event.FAILURE),
    Binding(does="discard", keys=("x", "\x7f"), gamepad="B", event=Event.DISCARD),
    Binding(does="re-record this one", keys=("b",), gamepad="X", event=Event.RERECORD),
    Binding(does="undo the last decision", keys=("z",), gamepad="back", event=Event.UNDO),
    Binding(does="take over / give back", keys=(" ",), gamepad="RB", event=Event.INTERVENE),
    Binding(does="quit", keys=("q",), gamepad="guide", event=Event.QUIT),
)
"""Every device's controls. Terminals know no key-up, so keys that move act for a short time."""


def key_events() -> dict[str, Event]:
    """What each key asks of the recorder."""
    return {key: b.event for b in KEYMAP if b.event is not None for key in b.keys}


def key_motions() -> dict[str, tuple[int, int]]:
    """(axis, sign) that each key presses."""
    return {key: b.motion for b in KEYMAP if b.motion is not None for key in b.keys}


def legend(device: str, *, with_keyboard: bool = True) -> list[tuple[str, str]]:
    """(what to press, what it does) for one device, and the keys that work beside it.

    Args:
        device: A device's name; one without a column of its own has the keyboard's events only.
        with_keyboard: Whether the keyboard's recorder keys work beside the device.
    """
    lines: dict[str, list[str]] = {}
    for b in KEYMAP:
        keys = " ".join(_SHOWN.get(key, key) for key in b.keys)
        own = {"keyboard": keys, "gamepad": b.gamepad, "spacemouse": b.spacemouse}.get(device, "")
        if device != "keyboard" and with_keyboard and b.event is not None and keys:
            own = f"{own} or {keys}" if own else keys
        if own:
            lines.setdefault(own, []).append(b.does)
    return [(press, ", ".join(does)) for press, does in lines.items()]
