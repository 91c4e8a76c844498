import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, DataError
from robot_rl.replay.trajectory import Trajectory
from robot_rl.reward.vlm.chat import ChatReply, Video
from robot_rl.reward.vlm.counterfactual import parse_instructions, wrong_instructions
from robot_rl.reward.vlm.grm import GrmCfg, parse_hop
from robot_rl.reward.vlm.hop_fusion import hop_label
from robot_rl.reward.vlm.hops import HopLessonsCfg, balanced_pairs, hop_lessons
from robot_rl.reward.vlm.lessons import split
from robot_rl.reward.vlm.roboreward import RoboRewardCfg
from robot_rl.reward.vlm.scores import CUTS, ScoreLessonsCfg, score_lessons


def attempt(level=250, steps=20, success=True, task="brighten"):
    """Frames that brighten from `level / 5` to `level`."""
    ramp = np.linspace(level / 5, level, steps + 1).astype(np.uint8)
    frames = np.broadcast_to(ramp[:, None, None, None], (steps + 1, 32, 32, 3)).copy()
    rows = np.zeros((steps, 1), np.float32)
    return Trajectory(
        obs={"state": np.zeros((steps + 1, 1), np.float32), "top": frames},
        executed=rows,
        requested=rows,
        reward=rows[:, 0],
        terminated=True,
        success=success,
        control_source=np.zeros(steps, np.uint8),
        t_s=np.arange(steps + 1) * 0.1,
        attrs={"task": task},
    )


def images_of(lesson):
    return [part for part in lesson.request.parts if isinstance(part, np.ndarray)]


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(0, 99))
def test_pairs_lie_within_the_episode_and_are_as_many_as_asked(count, seed):
    pairs = balanced_pairs(count, HopLessonsCfg(per_episode=30), np.random.default_rng(seed))
    assert len(pairs) == 30
    assert all(1 <= p <= count and 1 <= q <= count for p, q in pairs)


def test_pairs_are_balanced_over_sizes_and_directions_of_hops():
    rng = np.random.default_rng(0)
    pairs = balanced_pairs(40, HopLessonsCfg(per_episode=4000, zero_share=0.05), rng)
    hops = np.array([hop_label(p, q, 40) for p, q in pairs])
    assert (hops == 0).mean() == pytest.approx(0.05, abs=0.02)
    assert (hops > 0).mean() == pytest.approx(0.475, abs=0.05)
    sizes = np.histogram(hops[hops != 0], bins=25, range=(-1, 1))[0]
    far = np.array([abs(q - p) >= 30 for p, q in pairs])
    assert (sizes > 0).sum() >= 24
    assert far.mean() == pytest.approx(0.2, abs=0.1)  # drawn evenly it would be 6 %
    every = [(p, q) for p in range(1, 41) for q in range(1, 41)]
    assert np.mean([abs(q - p) >= 30 for p, q in every]) < 0.07


def test_hop_lessons_answer_what_the_frames_show():
    rng = np.random.default_rng(0)
    cfg = HopLessonsCfg(per_episode=40, swap_share=0.0, keyframe_every_s=0.1)
    for lesson in hop_lessons({"a": attempt(level=250)}, cfg, GrmCfg(), rng):
        start, goal, before, _, _, after, _, _ = (float(x.mean()) for x in images_of(lesson))
        gone = after - before
        way = (goal - before) if gone >= 0 else (before - start)
        hop = parse_hop(ChatReply(text=lesson.answer))
        assert hop == pytest.approx(gone / way if way else 0.0, abs=0.1)


def test_references_are_swapped_as_often_as_asked_and_never_its_own():
    demos = {name: attempt(level=level) for name, level in (("a", 100), ("b", 200))}
    cfg = HopLessonsCfg(per_episode=400, swap_share=0.75)
    lessons = hop_lessons(demos, cfg, GrmCfg(), np.random.default_rng(0))
    own = {"a": 100, "b": 200}
    swapped = [images_of(each)[1].mean() != own[each.source] for each in lessons]
    assert np.mean(swapped) == pytest.approx(0.75, abs=0.05)


def test_failures_teach_no_hops():
    demos = {"good": attempt(), "bad": attempt(success=False)}
    lessons = hop_lessons(demos, HopLessonsCfg(per_episode=5), GrmCfg(), np.random.default_rng(0))
    assert {lesson.source for lesson in lessons} == {"good"}
    with pytest.raises(DataError, match="no episode succeeded"):
        hop_lessons({"bad": demos["bad"]}, HopLessonsCfg(), GrmCfg(), np.random.default_rng(0))


def film_of(lesson):
    return next(part for part in lesson.request.parts if isinstance(part, Video))


def test_scores_come_with_near_misses_wrong_tasks_and_failures():
    episodes = {
        "a": attempt(task="brighten"),
        "b": attempt(task="dim"),
        "c": attempt(success=False),
        "d": attempt(success=None),
    }
    cfg = ScoreLessonsCfg(cuts_per_score=2, wrong_tasks=1)
    lessons = score_lessons(episodes, cfg, RoboRewardCfg(), np.random.default_rng(0))
    of = Counter((lesson.source, lesson.answer) for lesson in lessons)
    for name in "ab":
        assert of[name, "ANSWER: 5"] == 1
        assert [of[name, f"ANSWER: {score}"] for score in (2, 3, 4)] == [2, 2, 2]
        assert of[name, "ANSWER: 1"] == 3  # cut off twice, and judged by the other task
    assert of["c", "ANSWER: 4"] == 1
    assert not any(source == "d" for source, _ in of)
    failure = next(x for x in lessons if x.source == "c" and x.also_right)
    assert failure.also_right == ("ANSWER: 3", "ANSWER: 2", "ANSWER: 1")


def test_a_cut_off_film_ends_where_its_score_says():
    lessons = score_lessons(
        {"a": attempt(level=250, steps=200)},
        ScoreLessonsCfg(cuts_per_score=5),
        RoboRewardCfg(),
        np.random.default_rng(0),
    )
    for lesson in lessons:
        score = int(lesson.answer[-1])
        low, high = CUTS.get(score, (1.0, 1.0))
        share = (film_of(lesson).frames[-1].mean() - 50) / 200
        assert low - 0.01 <= share <= high + 0.01


def test_ranges_of_cuts_do_not_touch():
    ends = [edge for score in sorted(CUTS) for edge in CUTS[score]]
    assert ends == sorted(set(ends))


def test_lessons_of_one_episode_are_never_split():
    lessons = [
        *hop_lessons(
            {str(k): attempt() for k in range(5)},
            HopLessonsCfg(per_episode=3),
            GrmCfg(),
            np.random.default_rng(0),
        )
    ]
    lessons = [
        type(x)(request=x.request, answer=x.answer, source=str(k // 3))
        for k, x in enumerate(lessons)
    ]
    train, held = split(lessons, 0.3, np.random.default_rng(1))
    assert len(train) + len(held) == len(lessons)
    assert {x.source for x in train}.isdisjoint(x.source for x in held)
    assert held
    with pytest.raises(DataError, match="cannot be split"):
        split(lessons[:3], 0.3, np.random.default_rng(0))


@settings(deadline=None)
@given(st.text())
def test_instructions_are_read_or_left_out(text):
    for found in (
        parse_instructions(ChatReply(text=text), "x"),
        parse_instructions(ChatReply(text=json.dumps({"instructions": {"2": text}})), "x"),
    ):
        assert all(score in (1, 2, 3, 4) and words.strip() for score, words in found.items())


def test_only_instructions_that_a_second_look_agrees_on_are_kept(serve):
    proposed = {"1": "take the cup", "2": "put it in the box", "3": "close the box", "4": "Sort!"}

    def say(body):
        text = body["messages"][0]["content"][-1]["text"]
        if "four other instructions" in text:
            return "At the end: a cube. " + json.dumps({"instructions": proposed})
        return "ANSWER: 1" if "take the cup" in text else "ANSWER: 3"

    film = Video(frames=np.zeros((2, 8, 8, 3), np.uint8), fps=1.0)
    (found,) = wrong_instructions(serve(say).engine(), [("put it away", film)])
    assert found == {1: "take the cup", 3: "close the box"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HopLessonsCfg(swap_share=1.5), r"swap_share is 1.5, but must be within 0 and 1"),
        (lambda: HopLessonsCfg(hop_bins=0), r"hop_bins is 0, but must be >= 1"),
        (lambda: ScoreLessonsCfg(wrong_tasks=-1), r"wrong_tasks is -1, but must be >= 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
