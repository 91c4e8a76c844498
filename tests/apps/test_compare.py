"""The comparison groups by configuration, pairs by seed, and says what differs."""

import html.parser

import pytest

from robot_rl.apps import compare
from robot_rl.apps.groups import group_runs
from robot_rl.errors import DataError
from robot_rl.learn.run import RunFolder


@pytest.fixture
def runs(tmp_path, make_run):
    for seed in range(3):
        for method, gain in (("residual", 0.5), ("rlpd", 0.1)):
            path = tmp_path / "runs" / f"{method}-s{seed}"
            make_run(path, seed=seed, method=method, gain=gain, steps=10_200).finish()
    return tmp_path / "runs"


def test_runs_that_differ_in_the_seed_alone_are_one_group(runs):
    groups = group_runs([runs])
    assert [(g.label, len(g.runs)) for g in groups] == [("residual", 3), ("rlpd", 3)]
    assert set(groups[0].finals()) == {"0", "1", "2"}


def test_order_follows_the_command_line_and_no_run_counts_twice(runs):
    groups = group_runs([runs / "rlpd-s1", runs])
    assert [(g.label, len(g.runs)) for g in groups] == [("rlpd", 3), ("residual", 3)]


def test_groups_are_named_by_what_differs(tmp_path, make_run):
    for scale in (0.2, 0.4):
        config = {"learn": {"scale": scale, "method": "residual"}}
        make_run(tmp_path / f"{scale}", steps=600, config=config).finish()
    assert [g.label for g in group_runs([tmp_path])] == ["scale 0.2", "scale 0.4"]


def test_the_page_tells_what_differs_and_who_is_better(runs, capsys):
    out = runs.parent / "pages" / "compare.html"
    assert compare.main(compare.Cfg(runs=(runs / "rlpd-s0", runs), out=out)) == 0
    assert capsys.readouterr().out == f"comparison: {out}\n"
    words = []
    parser = html.parser.HTMLParser()
    parser.handle_data = words.append
    parser.feed(out.read_text())
    text = " ".join(words)
    for expected in (
        "2 configurations, 6 runs",
        "Final success against rlpd",
        "better",
        "learn.method",
    ):
        assert expected in text, expected
    assert "http" not in out.read_text()


def test_runs_of_one_configuration_need_no_comparison_to_be_shown(tmp_path, make_run):
    make_run(tmp_path / "a", steps=600).finish()
    page = compare.write_comparison([tmp_path / "a"], tmp_path / "c.html").read_text()
    assert "1 configurations, 1 runs" in page
    assert "Final success against" not in page


def test_curves_of_runs_evaluated_at_other_steps_are_averaged_all_the_same(tmp_path):
    for seed, middle in ((0, 1000), (1, 1060), (2, 940)):
        run = RunFolder.create(tmp_path / f"s{seed}", {"env": "peg", "seed": seed})
        for step, good in ((0, 0), (middle, 5), (2000 + seed, 10)):
            run.log_eval(step, "residual", range(10), [i < good for i in range(10)], [5] * 10)
        run.finish()
    page = compare.write_comparison([tmp_path], tmp_path / "c.html").read_text()
    assert "all at 0: 0% over 3 seeds" in page
    assert "all at 1,000: 50% over 3 seeds" in page
    assert "all at 2,000: 100% over 3 seeds" in page


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        group_runs([tmp_path])
    with pytest.raises(DataError, match="no runs to compare"):
        group_runs([])
