import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.reward.vlm.answer import choice_shares, json_field, json_number, tagged_number
from robot_rl.reward.vlm.chat import ChatReply
from robot_rl.reward.vlm.grm import hop_answer, parse_hop
from robot_rl.reward.vlm.gvl import parse_shuffled, shuffled_order
from robot_rl.reward.vlm.logprob import LogProbCfg, parse_done
from robot_rl.reward.vlm.lrm import parse_completion, parse_contrast, parse_progress
from robot_rl.reward.vlm.roboreward import SCORES, parse_score, score_answer, score_moments

PARSERS = {
    "hop": (parse_hop, -1.0, 1.0),
    "score": (parse_score, 0.0, 1.0),
    "progress": (parse_progress, 0.0, 1.0),
    "contrast": (parse_contrast, -1.0, 1.0),
    "completion": (parse_completion, 0.0, 1.0),
}
GARBAGE = [
    "",
    "I cannot see the images.",
    "50",
    "50%",
    "<score></score>",
    "<score>nan</score>",
    "<score>inf%</score>",
    "<score>1e2</score>",
    "<score>101%</score>",
    "<score>+-5%</score>",
    "<score>10%",
    "<score>5% of 10%</score>",
    "<score>5</score> no, <score>6</score>",
    "ANSWER: ",
    "ANSWER: 0",
    "ANSWER: 6",
    "ANSWER: 45",
    "ANSWER: 4.5",
    "ANSWER: 3 or ANSWER: 4",
    "ANSWER: four",
    '{"progress": NaN}',
    '{"progress": Infinity}',
    '{"progress": 1.2}',
    '{"progress": -0.1}',
    '{"progress": true}',
    '{"progress": "0.5"}',
    '{"progress": 0.5',
    '{"progress": 1' + "0" * 5000 + "}",
    '{"done": "maybe"}',
    '{"done": true}',
    '{"closer": "ImageC"}',
    '{"closer": ["ImageA"]}',
    "[" * 5000,
    '{"a":' * 3000,
    "x" * 1_000_000,
    "\x00\ud800",
]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:30]))
def test_garbage_is_no_number(text):
    reply = ChatReply(text=text)
    assert all(math.isnan(parse(reply)) for parse, _, _ in PARSERS.values())


@pytest.mark.parametrize("name", PARSERS)
@settings(deadline=None)
@given(text=st.text() | st.from_regex(r"(<score>|ANSWER:|\{\"progress\":|\{\"done\":).{0,20}"))
def test_whatever_is_written_gives_nan_or_a_number_in_range(name, text):
    parse, low, high = PARSERS[name]
    value = parse(ChatReply(text=text))
    assert math.isnan(value) or low <= value <= high


@pytest.mark.parametrize("name", PARSERS)
def test_a_failed_reply_is_not_read_even_if_its_text_is_good(name):
    text = '<score>5%</score> ANSWER: 3 {"progress": 0.5, "done": "yes", "closer": "ImageA"}'
    parse, _, _ = PARSERS[name]
    assert not math.isnan(parse(ChatReply(text=text)))
    assert math.isnan(parse(ChatReply(text=text, failure="cut off")))


@settings(deadline=None)
@given(st.floats(-1, 1))
def test_a_hop_survives_being_written_to_a_tenth_of_a_percent(hop):
    assert parse_hop(ChatReply(text=hop_answer(hop))) == pytest.approx(hop, abs=0.00051)


@pytest.mark.parametrize("score", SCORES)
def test_a_score_survives_being_written(score):
    assert parse_score(ChatReply(text=score_answer(score))) == (score - 1) / 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<score>+12.5%</score>", 12.5),
        ("thinking... <score> -7 </score>\n", -7.0),
        ("<score>0%</score><score>0%</score>", 0.0),
        ("<score>.5%</score>", 0.5),
    ],
)
def test_one_clear_tag_is_read(text, value):
    assert tagged_number(text, "score", -100, 100) == value


def test_the_last_object_with_the_key_is_the_answer():
    text = 'first {"progress": 0.1} then ```json\n{"why": {"x": "{"}, "progress": 0.7}\n``` done'
    assert json_number(text, "progress", 0, 1) == 0.7


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()), st.text())
def test_json_is_found_within_any_words(row, words):
    row = {**row, "the key": 3}
    text = words.replace("{", "(") + json.dumps(row) + words.replace("{", "(")
    assert json_field(text[-16384:], "the key") == 3


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=7))
def test_shares_are_a_distribution_or_nothing(logp):
    share = choice_shares(ChatReply(choice_logp=np.array(logp)), 5, 0.1)
    if share is not None:
        assert len(logp) == 5
        assert share.sum() == pytest.approx(1.0)
        assert (share >= 0).all()


def test_a_model_that_wanted_to_say_something_else_has_said_nothing():
    logp = np.log(np.full(5, 0.01))
    assert choice_shares(ChatReply(choice_logp=logp), 5, 0.2) is None
    assert choice_shares(ChatReply(choice_logp=logp), 5, 0.0) == pytest.approx(np.full(5, 0.2))


def test_scores_weighed_equally_give_the_middle_and_the_spread_of_a_die():
    reply = ChatReply(choice_logp=np.log(np.full(5, 0.2)))
    mean, sigma, done = score_moments(reply, 0.5)
    assert (mean, done) == pytest.approx((0.5, 0.2))
    assert sigma == pytest.approx(np.std([0, 0.25, 0.5, 0.75, 1.0]))


@settings(deadline=None)
@given(st.integers(2, 15), st.integers(0, 1000), st.randoms())
def test_shuffled_answers_come_back_in_order(count, seed, random):
    order = shuffled_order(count, seed)
    truth = [0.0, *(random.randrange(101) / 100 for _ in range(count - 1))]
    rows = {str(k): round(100 * truth[index]) for k, index in enumerate(order, 1)}
    reply = ChatReply(text=f"Frame 1: a hand.\n{json.dumps({'percent': rows})}")
    assert parse_shuffled(reply, order) == pytest.approx(np.array(truth))


def test_a_frame_that_shuffled_answers_leave_out_is_invalid_alone():
    order = np.array([2, 1, 3])
    reply = ChatReply(text='{"percent": {"1": 40, "3": 250, "2": 10}}')
    assert parse_shuffled(reply, order) == pytest.approx([0.0, 0.1, 0.4, np.nan], nan_ok=True)


@settings(deadline=None)
@given(st.floats())
def test_a_log_probability_is_a_progress_or_nothing(logp):
    value = parse_done(ChatReply(choice_logp=np.array([logp])), LogProbCfg())
    assert math.isnan(value) == (not math.isfinite(logp))
    assert math.isnan(value) or 0 <= value <= 1
