import re
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import CheckpointError, UnknownNameError
from robot_rl.reward.progress import ProgressModel, ProgressQuery
from robot_rl.reward.vlm import saved
from robot_rl.reward.vlm.grm import GrmCfg, GrmJudge
from robot_rl.reward.vlm.gvl import GvlCfg, GvlJudge
from robot_rl.reward.vlm.logprob import LogProbCfg, LogProbJudge
from robot_rl.reward.vlm.lrm import LrmCfg, LrmJudge
from robot_rl.reward.vlm.roboreward import RoboRewardCfg, RoboRewardJudge
from robot_rl.reward.vlm.saved import load_judge, make_judge

CHAT_JUDGES = ("grm", "roboreward", "lrm", "gvl", "logprob")

GRM_PROMPT = """\
You judge how far a robot has come with a task.
Task: put the cube away

Reference, to scale by.
Start of the task, front view:
{image}
Task done, front view:
{image}

BEFORE. Front view:
{image}
Left wrist view:
{image}
Right wrist view:
{image}

AFTER. Front view:
{image}
Left wrist view:
{image}
Right wrist view:
{image}

How does AFTER compare with BEFORE?
- If AFTER is nearer to the goal: the share of the way from BEFORE to the goal that was gone, \
from 0 to +100 percent.
- If AFTER is farther from the goal: the share of the way from the start to BEFORE that was \
lost, from -100 to 0 percent.
- Trust the wrist views on grasp and contact. If nothing relevant changed, or you cannot tell, \
the answer is 0.
Answer with one signed percentage and nothing else, as in <score>+25%</score>."""

ROBOREWARD_PROMPT = """\
{video}
The robot was told: put the cube away
Judge only the state at the end of the video, not the effort.
1: nothing of the task is done. 2: a first, small part. 3: about half, a necessary step is \
missing. 4: nearly done, a small flaw. 5: done.
Answer with one line: ANSWER: <score>"""

LRM_PROMPTS = [
    """\
Task: put the cube away
ImageA:
{image}
ImageB:
{image}
Which image is nearer to the task being done? Think step by step: what must happen, what each \
image shows. Then finish with one line of JSON: {"closer": "ImageA"} or {"closer": "ImageB"}.""",
    """\
Task: put the cube away
Goal:
{image}
Start:
{image}
Now:
{image}
How far is the task done now, from 0.0 (start) to 1.0 (done), in steps of 0.1? Answer with one \
line of JSON, as in {"progress": 0.4}.""",
    """\
Task: put the cube away
{image}
Is the task completely done in this image? Answer with one line of JSON: {"done": "yes"} or \
{"done": "no"}.""",
]

GVL_PROMPT = """\
Task: put the cube away
The start, where 0 percent of the task is done:
{image}

These frames are of the same attempt, in random order.

Frame 1:
{image}

Frame 2:
{image}

For each of the frames 1 to 2, how many percent of the task are done? Describe each frame in a \
few words, then finish with one line of JSON, as in {"percent": {"1": 35, "2": 80}}."""

LOGPROB_PROMPT = """\
{video}
The video shows a robot. Statement: at the end of the video the robot has completed the task \
'put the cube away'. The statement is
 True"""


def images_in(body):
    rows = body["messages"][0]["content"]
    return [row["image_url"]["url"] for row in rows if row["type"] == "image_url"]


def test_grm_asks_three_hops_a_frame_with_eight_images_each(serve, words_of, make_query):
    server = serve(lambda _: "<score>+50.0%</score>")
    query = make_query(3, ("front", "wrist"), goal=True)
    judge = GrmJudge(server.engine(connections=1), GrmCfg(front="front", left_wrist="wrist"))
    (found,) = judge.score([query])
    assert [words_of(body) for body in server.bodies] == [GRM_PROMPT] * 8  # 2 + 3 + 3
    front, left, right = images_in(server.bodies[0])[2:5]
    assert front == right != left
    start, goal = images_in(server.bodies[5])[:2]
    assert images_in(server.bodies[5])[2:5] == [goal] * 3
    assert images_in(server.bodies[2])[2] == start
    assert found.valid.all()
    assert found.hop == pytest.approx([0.0, 0.5, 0.5])
    assert (judge.counts.asked, judge.counts.failed, judge.counts.unreadable) == (8, 0, 0)


def test_grm_without_a_goal_shows_grey_and_does_not_anchor_to_it(serve, make_query):
    server = serve(lambda _: "<score>+20.0%</score>")
    judge = GrmJudge(server.engine(connections=1), GrmCfg())
    (found,) = judge.score([make_query(2)])
    assert len(server.bodies) == 3
    assert images_in(server.bodies[0])[1] != images_in(server.bodies[0])[0]
    assert found.progress == pytest.approx([0.2, (0.2 + 0.36) / 2])


def test_roboreward_shows_the_film_up_to_each_frame(serve, words_of, make_query):
    scores = iter("135")
    server = serve(lambda _: f"ANSWER: {next(scores)}")
    judge = RoboRewardJudge(server.engine(connections=1), RoboRewardCfg(weigh=False))
    (found,) = judge.score([make_query(3)])
    assert [words_of(body) for body in server.bodies] == [ROBOREWARD_PROMPT] * 3
    films = [body["messages"][0]["content"][0]["video_url"]["url"] for body in server.bodies]
    assert [film.count(",") for film in films] == [2, 2, 3]
    assert found.progress.tolist() == [0.0, 0.5, 1.0]
    assert found.success.tolist() == [0.0, 0.0, 1.0]


def top_logprobs(shares):
    top = [{"token": t, "logprob": float(np.log(p))} for t, p in shares.items()]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


def test_roboreward_weighs_five_scores_behind_a_begun_answer(serve, make_query):
    shares = {"5": 0.6, "4": 0.3, "3": 0.05, "2": 0.03, "1": 0.02}
    server = serve(lambda _: top_logprobs(shares))
    judge = RoboRewardJudge(server.engine(), RoboRewardCfg())
    (found,) = judge.score([make_query(1)])
    body = server.bodies[0]
    assert body["messages"][-1] == {"role": "assistant", "content": "ANSWER: "}
    assert body["continue_final_message"] is True
    assert found.success[0] == pytest.approx(0.6)
    assert found.progress[0] == pytest.approx(0.6 + 0.3 * 0.75 + 0.05 * 0.5 + 0.03 * 0.25)


def test_lrm_asks_its_three_heads(serve, words_of, make_query):
    def say(body):
        answers = {
            "cont": 'A shows less. {"closer": "ImageB"}',
            "prog": '{"progress": 0.3}',
            "comp": '{"done": "no"}',
        }
        return answers[body["model"]]

    server = serve(say)
    names = {"contrastive_adapter": "cont", "progress_adapter": "prog"}
    judge = LrmJudge(server.engine(connections=1), LrmCfg(**names, completion_adapter="comp"))
    (found,) = judge.score([make_query(2, goal=True)])
    asked = [words_of(body) for body in server.bodies]
    assert asked == [LRM_PROMPTS[0], *[LRM_PROMPTS[1]] * 2, *[LRM_PROMPTS[2]] * 2]
    assert found.hop.tolist() == [0.0, 1.0]
    assert found.progress == pytest.approx([0.3, 0.3])
    assert found.success.tolist() == [0.0, 0.0]


def test_a_rise_that_the_other_head_denies_is_uncertain(serve, make_query):
    progress = iter((0.2, 0.8))

    def say(body):
        text = body["messages"][0]["content"][-1]["text"]
        if "nearer" in text:
            return '{"closer": "ImageA"}'
        return f'{{"progress": {next(progress)}}}' if "How far" in text else '{"done": "no"}'

    judge = LrmJudge(serve(say).engine(connections=1), LrmCfg())
    (found,) = judge.score([make_query(2)])
    assert found.sigma == pytest.approx([0.05, 0.65])


def test_gvl_shuffles_and_puts_back_in_order(serve, words_of, make_query):
    server = serve(lambda _: '{"percent": {"1": 10, "2": 90}}')
    judge = GvlJudge(server.engine(), GvlCfg(seed=3))
    (found,) = judge.score([make_query(2)])
    assert words_of(server.bodies[0]) == GVL_PROMPT
    assert sorted(found.progress) == pytest.approx([0.1, 0.9])


def test_gvl_splits_long_episodes_into_parts_that_span_the_whole(serve, make_query):
    def say(body):
        count = len(images_in(body)) - 1
        rows = ", ".join(f'"{k}": {k}' for k in range(1, count + 1))
        return f'{{"percent": {{{rows}}}}}'

    server = serve(say)
    (found,) = GvlJudge(server.engine(), GvlCfg()).score([make_query(30)])
    assert found.valid.all()
    assert sorted(len(images_in(body)) for body in server.bodies) == [11, 11, 11]


def test_log_probability_is_read_at_the_end_of_the_prompt(serve, words_of, make_query):
    def say(body):
        token = {"7": {"logprob": -15.0, "rank": 900, "decoded_token": " True"}}
        return {"prompt_logprobs": [None, {"1": {"logprob": -1, "decoded_token": " is"}}, token]}

    server = serve(say)
    (found,) = LogProbJudge(server.engine(), LogProbCfg()).score([make_query(1)])
    assert words_of(server.bodies[0]) == LOGPROB_PROMPT
    assert "user" not in server.bodies[0]["chat_template"]
    assert found.progress == pytest.approx([0.5])
    assert np.isnan(found.success).all()


@pytest.mark.parametrize("kind", CHAT_JUDGES)
@pytest.mark.parametrize("said", ["I am sorry.", "", "<score>NaN</score> ANSWER: 9 {}"])
def test_no_judge_makes_a_number_of_garbage(kind, said, serve, make_query):
    judge = make_judge(kind, serve(lambda _: said).engine())
    (found,) = judge.score([make_query(2, goal=True)])
    assert not found.valid.any()
    assert np.isnan(found.progress).all()
    assert judge.counts.unreadable + judge.counts.failed > 0


@pytest.mark.parametrize("kind", CHAT_JUDGES)
def test_a_query_without_frames_is_invalid_and_costs_nothing(kind, serve, make_query):
    server = serve(lambda _: "")
    felt = ProgressQuery(
        stamps_s=np.arange(3.0), task="push", proprio=np.zeros((3, 2), np.float32)
    )
    judge = make_judge(kind, server.engine())
    assert not judge.score([felt])[0].valid.any()
    assert server.bodies == []


@pytest.mark.parametrize("kind", CHAT_JUDGES)
def test_judges_are_progress_models_and_survive_saving(kind, serve, tmp_path):
    judge = make_judge(kind, serve(lambda _: "").engine(), version=3)
    assert isinstance(judge, ProgressModel)
    again = load_judge(judge.save(tmp_path / kind))
    assert (again.model_id, again.version) == (judge.model_id, 3)
    assert (again.cfg, again.engine.cfg) == (judge.cfg, judge.engine.cfg)
    again.engine.close()


def test_the_model_id_tells_prompts_and_settings_apart(serve):
    engine = serve(lambda _: "").engine()
    ids = {GrmJudge(engine, GrmCfg(alpha=a, front=f)).model_id for a in (0, 1) for f in ("", "x")}
    assert len(ids) == 4
    assert all(re.fullmatch(r"grm:judge:[0-9a-f]{8}", name) for name in ids)


def test_a_camera_that_is_not_there_is_named(serve, make_query):
    judge = GvlJudge(serve(lambda _: "").engine(), GvlCfg(camera="side"))
    with pytest.raises(UnknownNameError, match=r"unknown camera 'side'. Available: front"):
        judge.score([make_query(2)])


def test_the_example_in_the_documentation_is_a_judge(tmp_path):
    text = Path(saved.__file__).with_name("README.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "judge.json").write_text(example)
    judge = load_judge(tmp_path)
    assert judge.model_id.startswith("roboreward:RoboReward-4B:")
    judge.engine.close()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(saved.JUDGES)


def test_a_folder_without_a_judge_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no saved judge"):
        load_judge(tmp_path)
    (tmp_path / "judge.json").write_text('{"judge": "grm", "engine": "os"}')
    with pytest.raises(CheckpointError, match="is no saved judge"):
        load_judge(tmp_path)
