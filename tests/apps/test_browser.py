"""The page in a real browser: it fits a phone, and its videos play."""

import re
import shutil
import subprocess

import pytest

from robot_rl.apps.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PROBE = """<script>
const told = () => {
  const videos = [...document.querySelectorAll("video")];
  const playing = videos.filter(v => !v.error && v.readyState >= 2 && v.videoWidth == 400);
  const lost = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = `width ${innerWidth} lost ${lost} playing ${playing.length}`;
};
setInterval(told, 50);
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [500, 1200])
def test_the_page_fits_and_its_videos_play(tmp_path, make_run, width):
    make_run(tmp_path / "a", steps=3000, videos=2).finish()
    page = write_report(tmp_path / "a")
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"),
            *("--virtual-time-budget=5000", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(width \d+ lost \S+ playing \d+)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    assert title[1].endswith("lost 0 playing 2"), title[1]
