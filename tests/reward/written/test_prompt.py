import json
from dataclasses import replace

from robot_rl.reward.written.candidate import Candidate, Trial
from robot_rl.reward.written.model import Range
from robot_rl.reward.written.prompt import first_prompt, next_prompt, reflection
from robot_rl.reward.written.scoring import ComponentFigures, Figures

NAN = float("nan")
FIGURES = Figures(
    voc=0.91,
    auc=0.8,
    gap=0.4,
    fooled=0.1,
    fooled_by={"hovering": 0.25, "random": 0.0},
    drop=0.05,
    final=0.97,
    components={"near": ComponentFigures(start=0, middle=0.5, end=1, failed=0.2, order=0.9)},
    took_ms=1.5,
    states=400,
)
BEST = Candidate(
    round=0, index=2, answer="...", source="def progress(a): ...", scale=Range(), figures=FIGURES
)


def test_the_first_prompt_shows_task_state_and_rules(schema, examples):
    told = first_prompt(schema, examples)
    for words in ("Task: reach", "the hand is at the point", "gap_m: float64 (N, 2) [m]"):
        assert words in told
    assert (
        "medians of 8 successes" in told
        and "linalg.norm" in told
        and "def progress(<names of fields>):" in told
    )


def test_figures_are_told_in_words():
    told = reflection(FIGURES)
    assert "on successes: 0.91" in told and "fooled by: hovering (25%)" in told
    assert "- near: 0, 0.5, 1; 0.2; rank correlation with time 0.90" in told


def test_what_is_not_known_without_failures_is_not_told():
    told = reflection(replace(FIGURES, auc=NAN, gap=NAN, fooled_by={}))
    assert "failure holds" not in told and "nothing that was tried" in told


def test_the_next_prompt_brings_the_best_its_trial_and_each_reason_once():
    bad = [Candidate(round=0, index=k, answer="", failure="line 1: a loop") for k in range(3)]
    best = replace(BEST, trial=Trial(success=0.5, words="half succeed"))
    told = next_prompt("FIRST", best, [best, *bad])
    assert told.startswith("FIRST") and "def progress(a): ..." in told
    assert "half succeed" in told and told.count("line 1: a loop") == 1
    assert "The best function so far" not in next_prompt("FIRST", None, bad)


def test_a_candidate_comes_back_from_its_file():
    plain = json.loads(json.dumps(BEST.to_plain()))
    assert Candidate.from_plain(plain) == BEST


def test_training_outranks_figures_and_refused_ones_come_last():
    refused = Candidate(round=0, index=0, answer="", failure="no")
    tried = Candidate(
        round=0, index=1, answer="", figures=FIGURES, trial=Trial(success=0.0, words="")
    )
    assert refused.rank < BEST.rank < tried.rank
