"""A run's page: self-contained, honest about runs that are not over, and never broken by one."""

import html.parser
import json
import re

import pytest

from robot_rl.apps import report
from robot_rl.errors import DataError
from robot_rl.learn.run import RunFolder

VOID = {"meta", "br", "img", "line", "rect", "circle", "path", "polygon", "link", "input"}


class Page(html.parser.HTMLParser):
    """Collects tags and addresses, and fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(run_path):
    return Page(report.write_report(run_path).read_text())


def test_the_page_of_a_finished_run_shows_everything_and_fetches_nothing(tmp_path, make_run):
    make_run(tmp_path / "peg-s0", videos=2).finish()
    page = page_of(tmp_path / "peg-s0")
    assert all(a.startswith("data:video/webm;base64,") for a in page.addresses)
    assert len(page.addresses) == page.tags.count("video") == 2
    assert "@import" not in page.text and "url(" not in page.text
    for words in (
        "peg-s0 finished",
        "42 %",  # the base
        "15,000 steps",
        "worst dip below the base, evaluated",
        "Executed episodes",
        "Who acted",
        "robot-rl train --env peg --seed 0 --steps 15000",
        "learn.scale",
        "configuration hash",
        *("dataset_q", "td_error", "residual_size", "residual_saturation", "evidence"),
    ):
        assert words in page.text, words


def test_the_page_of_a_killed_run_says_so(tmp_path, make_run):
    run = make_run(tmp_path / "a", steps=3000)
    run.tensorboard.close()
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps(status | {"pid": 2**22 + 1}))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30')
    text = page_of(run.path).text
    assert "This run was killed after 3,000 of 3,000 steps" in text
    assert "go on with it by --resume" in text


def test_a_run_that_has_just_begun_has_a_page(tmp_path):
    RunFolder.create(tmp_path / "a", {"env": "peg"}, steps=500)
    text = page_of(tmp_path / "a").text
    assert "no evaluation yet" in text
    assert "still going on: it has done 0 of 500 steps" in text


def test_a_failed_run_says_why(tmp_path):
    RunFolder.create(tmp_path / "a", {}).stop("failed", "the policy produced NaN")
    assert "failed after 0 steps: the policy produced NaN" in page_of(tmp_path / "a").text


def test_names_are_shown_not_run(tmp_path):
    evil = "<script>alert(1)</script>"
    run = RunFolder.create(tmp_path / "a", {"env": evil, evil: evil}, command=[evil])
    for step in range(40):
        run.log(step, {evil: step})
        behaviour = evil if step % 2 else "base"
        run.log_episode(step, {"success": True, "length": 1, "behaviour": behaviour})
    run.log_eval(0, evil, [1], [True], [1])
    run.finish()
    page = page_of(run.path)
    assert "script" not in page.tags
    assert page.text.count("<script>") >= 5


def test_the_verb_prints_the_headline_and_the_path(tmp_path, make_run, capsys):
    make_run(tmp_path / "a", steps=3000).finish()
    assert report.main(report.Cfg(run=tmp_path / "a", out=tmp_path / "page.html")) == 0
    out = capsys.readouterr().out
    expected = r"base 0\.\d\d -> imitation 0\.\d\d in 3000 steps, report: (.+)\n"
    match = re.fullmatch(expected, out)
    assert match and match[1] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        report.write_report(tmp_path)


def test_a_judges_verdicts_are_held_against_the_truth_where_it_is_known(make_run, tmp_path):
    run = make_run(tmp_path / "run", steps=3000)
    judged = {"label_source": "reward_model:m@1", "judged": 0.9, "trust": 0.8, "length": 40}
    kinds = [(True, True)] * 6 + [(False, True)] * 3 + [(True, False)] + [(False, False)] * 10
    for k, (said, true) in enumerate(kinds):
        facts = {"episode": k, "success": said, "true_success": true, "behaviour": "base"}
        run.log_episode(3000 + 50 * k, facts | judged)
    page = report.write_report(tmp_path / "run").read_text()
    assert "The judge" in page and "3 of 9" in page and "1 of 11" in page
    assert "reward_model:m@1" in page


def test_a_run_without_a_judge_has_no_verdicts_on_its_page(make_run, tmp_path):
    make_run(tmp_path / "run", steps=3000)
    assert "The judge" not in report.write_report(tmp_path / "run").read_text()
