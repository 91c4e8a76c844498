"""Progress: a bar on a terminal, lines in a log."""

import io
import re

from robot_rl.learn.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_a_line_now_and_then_and_one_at_the_end():
    stream = io.StringIO()
    with Progress("train", 100, stream, quiet_every_s=1e9) as progress:
        for step in range(101):
            progress.update(step, success=0.5 + step / 200, stage="learn")
    assert re.fullmatch(
        r"train 100/100 \(100%\) success 1\.00, stage learn, 0:0\d\n", stream.getvalue()
    )


def test_with_no_pause_each_update_is_a_line_with_the_time_left():
    stream = io.StringIO()
    with Progress("eval", 4, stream, quiet_every_s=0) as progress:
        progress.update(1)
        progress.update(2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"eval 1/4 \(25%\), 0:00 left", lines[0])


def test_a_terminal_shows_a_bar_with_the_figures():
    stream = Terminal()
    with Progress("train", 10, stream) as progress:
        progress.update(10, success=0.52)
    assert "10/10" in stream.getvalue()
    assert "success 0.52" in stream.getvalue()
