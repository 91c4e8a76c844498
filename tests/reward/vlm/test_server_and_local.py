"""One tiny model, asked here and over HTTP: the two transports must agree."""

import base64

import cv2
import numpy as np
import pytest

pytest.importorskip("transformers")

from robot_rl.reward.vlm.chat import ChatRequest, Video
from robot_rl.reward.vlm.local import LocalCfg, LocalEngine
from robot_rl.reward.vlm.roboreward import RoboRewardCfg, RoboRewardJudge
from robot_rl.reward.vlm.saved import make_judge

TOP = 20


class ModelServer:
    """What vLLM does with a request, done by an engine in this process."""

    def __init__(self, engine):
        self.engine = engine

    def __call__(self, body):
        raw = "chat_template" in body
        *parts, last = parts_of(body["messages"][0]["content"])
        if "prompt_logprobs" in body:  # the last text is the one to weigh
            request = ChatRequest(parts=tuple(parts), choices=(last,), raw=raw)
            (found,) = self.engine.answer([request])
            token = {"decoded_token": last, "logprob": float(found.choice_logp[0])}
            return {"prompt_logprobs": [None, {"7": token}]}
        start = body["messages"][1]["content"] if body.get("continue_final_message") else ""
        words = self.engine.load().encoder.tokenizer
        every = [words.decode([token]) for token in range(len(words))]
        single = tuple(
            t for t in every if len(words(t, add_special_tokens=False)["input_ids"]) == 1
        )
        request = ChatRequest(parts=(*parts, last), answer_start=start, choices=single)
        (found,) = self.engine.answer([request])
        digits = [single.index(d) for d in "12345"]
        best = [*np.argsort(found.choice_logp)[::-1][: TOP - 5], *digits]
        top = [{"token": single[k], "logprob": float(found.choice_logp[k])} for k in best]
        return {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


def parts_of(content):
    found = []
    for row in content:
        if row["type"] == "text":
            found.append(row["text"])
        elif row["type"] == "image_url":
            found.append(decoded(row["image_url"]["url"].partition(",")[2]))
        else:
            frames = row["video_url"]["url"].partition(",")[2].split(",")
            found.append(Video(frames=np.stack([decoded(f) for f in frames]), fps=2.0))
    return found


def decoded(text):
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(pixels[..., ::-1])


@pytest.fixture(scope="module")
def local(vlm_folder):
    return LocalEngine(LocalCfg(folder=vlm_folder, min_pixels=1024, max_pixels=4096))


@pytest.mark.parametrize("kind", ["roboreward", "logprob"])
def test_a_judge_says_the_same_over_http_but_for_what_jpeg_loses(kind, local, serve, make_query):
    remote = serve(ModelServer(local)).engine(connections=2)
    smooth = make_query(3)
    for frame in smooth.frames["front"]:
        frame[:] = cv2.GaussianBlur(frame, (0, 0), 6)
    if kind == "roboreward":
        here, there = (RoboRewardJudge(e, RoboRewardCfg(min_mass=0.0)) for e in (local, remote))
    else:
        here, there = (make_judge(kind, engine) for engine in (local, remote))
    (mine,), (theirs,) = here.score([smooth]), there.score([smooth])
    assert mine.valid.all()
    assert theirs.valid.all()
    assert theirs.progress == pytest.approx(mine.progress, abs=0.02)
