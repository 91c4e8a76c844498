import json
import threading
import time

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.reward.vlm.chat import ChatRequest, Video
from robot_rl.reward.vlm.server import ServerCfg, ServerEngine

IMAGE = np.zeros((8, 8, 3), np.uint8)
ASK = ChatRequest(parts=("how far?", IMAGE))


def reply(status=200, content=b"{}", **headers):
    return lambda handler: handler.reply(status, content, **headers)


def good(text="fine"):
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def test_a_good_answer_is_read(serve):
    server = serve(lambda _: "seven")
    (found,) = server.engine().answer([ASK])
    assert (found.text, found.failure) == ("seven", "")
    assert found.latency_s > 0
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0.0, 64)
    text, image = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "how far?"}
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_replies_come_in_order_whatever_order_they_are_made_in(serve):
    server = serve(lambda body: body["messages"][0]["content"][0]["text"])
    asked = [ChatRequest(parts=(str(n),)) for n in range(40)]
    found = server.engine(connections=8, queue=8).answer(asked)
    assert [each.text for each in found] == [str(n) for n in range(40)]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(serve, status):
    said = iter([reply(status), reply(status), good("now")])
    server = serve(lambda _: next(said))
    (found,) = server.engine(connections=1).answer([ASK])
    assert found.text == "now"
    assert len(server.bodies) == 3


def test_retry_after_is_waited_for(serve):
    said = iter([reply(429, Retry_After="1"), good()])
    start_s = time.monotonic()
    (found,) = serve(lambda _: next(said)).engine().answer([ASK])
    assert found.text == "fine"
    assert time.monotonic() - start_s >= 1.0


def test_a_server_that_stays_broken_is_given_up(serve):
    server = serve(lambda _: reply(500, b"out of memory"))
    (found,) = server.engine(retries=2).answer([ASK])
    assert found.failure == "the server answers 500: out of memory"
    assert len(server.bodies) == 3


def test_a_refusal_for_good_is_not_asked_again(serve):
    server = serve(lambda _: reply(404, b"no such model"))
    (found,) = server.engine().answer([ASK])
    assert found.failure == "the server answers 404: no such model"
    assert len(server.bodies) == 1


def truncated(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def hung_up(handler):
    handler.close_connection = True


@pytest.mark.parametrize("broken", [truncated, hung_up])
def test_a_lost_connection_is_made_again(serve, broken):
    said = iter([broken, good("whole")])
    (found,) = serve(lambda _: next(said)).engine().answer([ASK])
    assert found.text == "whole"


@pytest.mark.parametrize("broken", [truncated, hung_up])
def test_connections_that_are_always_lost_are_a_failure(serve, broken):
    (found,) = serve(lambda _: broken).engine(retries=1).answer([ASK])
    assert found.failure
    assert not found.text


MALFORMED = {
    "no JSON": b"<html>",
    "not UTF-8": b"\xff\xfe\xff",
    "a list": b"[]",
    "no choices": b"{}",
    "empty choices": b'{"choices": []}',
    "no text": b'{"choices": [{"message": {"content": null}}]}',
    "a number": b'{"choices": [{"message": {"content": 5}}]}',
    "NaN": b'{"choices": [{"message": {"content": "x"}, "at": NaN}]}',
    "cut off": b'{"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]}',
    "filtered": b'{"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_reply_is_a_failure(serve, content):
    (found,) = serve(lambda _: reply(200, content)).engine().answer([ASK])
    assert found.failure
    assert (found.text, found.choice_logp) == ("", None)


BAD_LOGP = ["NaN", "-Infinity", '"-1"', "true", "3.0", "null"]


@pytest.mark.parametrize("value", BAD_LOGP)
def test_a_log_probability_that_is_none_is_a_failure(serve, value):
    top = f'[{{"token": "1", "logprob": {value}}}]'
    content = f'{{"choices": [{{"logprobs": {{"content": [{{"top_logprobs": {top}}}]}}}}]}}'
    request = ChatRequest(parts=("?",), choices=("1", "2"))
    (found,) = serve(lambda _: reply(200, content.encode())).engine().answer([request])
    assert found.failure
    assert found.choice_logp is None


def test_a_choice_that_is_not_listed_is_at_most_as_likely_as_the_last(serve):
    top = [{"token": "1", "logprob": -0.1}, {"token": "x", "logprob": -4.0}]
    row = {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}
    request = ChatRequest(parts=("?",), choices=("1", "2"))
    (found,) = serve(lambda _: row).engine().answer([request])
    assert found.choice_logp.tolist() == [-0.1, -4.0]


def test_choices_of_which_none_is_listed_are_a_failure(serve):
    row = {
        "choices": [
            {"logprobs": {"content": [{"top_logprobs": [{"token": "x", "logprob": -0.1}]}]}}
        ]
    }
    request = ChatRequest(parts=("?",), choices=("1", "2"))
    (found,) = serve(lambda _: row).engine().answer([request])
    assert "none of ['1', '2'] is among the likeliest" in found.failure


def test_a_huge_reply_is_refused_unread(serve):
    def huge(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**9))
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x" * 10**5)
        handler.close_connection = True

    server = serve(lambda _: huge)
    (found,) = server.engine(max_reply_bytes=10**6).answer([ASK])
    assert found.failure == "the reply is longer than 1000000 bytes"
    assert len(server.bodies) == 1


def test_a_silent_server_costs_no_more_than_the_deadline(serve):
    release = threading.Event()

    def silent(_):
        release.wait(20)
        return good()

    engine = serve(silent).engine(deadline_s=0.3, connections=2)
    start_s = time.monotonic()
    found = engine.answer([ASK] * 5)
    took_s = time.monotonic() - start_s
    release.set()
    assert took_s < 10
    assert all(each.failure for each in found)


def test_a_server_that_drips_bytes_does_not_hold_us(serve):
    release = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not release.wait(0.05):
            handler.wfile.write(b" ")

    engine = serve(lambda _: drip).engine(timeout_s=0.3, retries=0)
    (found,) = engine.answer([ASK])
    release.set()
    assert found.failure == "no reply within 0.3 s"


def test_no_more_requests_are_under_way_than_connections(serve):
    server = serve(lambda _: "x")
    engine = server.engine(connections=3, queue=5)
    callers = [threading.Thread(target=engine.answer, args=([ASK] * 10,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(server.bodies) == 40
    assert server.most_under_way <= 3


def test_a_full_queue_makes_the_caller_wait_and_then_says_so(serve):
    release = threading.Event()

    def held(_):
        release.wait(20)
        return good()

    engine = serve(held).engine(connections=1, queue=2, deadline_s=0.3)
    found = engine.answer([ASK] * 4)
    release.set()
    assert [each.failure for each in found[2:]] == ["the queue was full until the deadline"] * 2


def test_a_closed_engine_answers_that_it_is_closed(serve):
    engine = serve(lambda _: "x").engine()
    engine.close()
    engine.close()
    assert engine.answer([ASK])[0].failure == "the engine is closed"


def test_nobody_there_is_a_failure():
    with ServerEngine(
        ServerCfg(url="http://127.0.0.1:9/v1", model="m", retries=1, backoff_s=0.001)
    ) as engine:
        assert "the connection failed" in engine.answer([ASK])[0].failure


def test_the_key_comes_from_the_environment_and_is_stored_nowhere(serve, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    server = serve(lambda _: "x")
    engine = server.engine(api_key_variable="JUDGE_KEY")
    engine.answer([ASK])
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(engine.cfg)


def test_large_images_are_shrunk_before_they_are_sent(serve):
    server = serve(lambda _: "x")
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    engine = server.engine(max_pixels=10_000)
    engine.answer([ChatRequest(parts=(noise,))])
    url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert len(url) < 40_000


def test_a_server_that_is_not_vllm_gets_films_as_images_with_times(serve, words_of):
    server = serve(lambda _: "x")
    film = Video(frames=np.stack([IMAGE] * 3), fps=2.0)
    server.engine(vllm=False).answer([ChatRequest(parts=(film, "?"))])
    words = "After 0.0 s:\n{image}\nAfter 0.5 s:\n{image}\nAfter 1.0 s:\n{image}\n?"
    assert words_of(server.bodies[0]) == words


def test_what_only_vllm_can_do_is_not_asked_of_others(serve):
    server = serve(lambda _: "x")
    request = ChatRequest(parts=("?",), answer_start="ANSWER: ", choices=("1",))
    (found,) = server.engine(vllm=False).answer([request])
    assert "which only vLLM can do" in found.failure
    assert server.bodies == []


def test_the_likelihood_of_a_text_is_summed_over_the_tokens_that_spell_it(serve):
    def token(word, logp):
        return {"1": {"decoded_token": word, "logprob": logp}}

    row = {"prompt_logprobs": [None, token(" is", -9), token(" Tr", -2), token("ue", -0.5)]}
    request = ChatRequest(parts=("it is",), choices=(" True",), raw=True)
    (found,) = serve(lambda _: row).engine().answer([request])
    assert found.choice_logp.tolist() == [-2.5]
    row["prompt_logprobs"].pop()
    (found,) = serve(lambda _: row).engine().answer([request])
    assert "do not end in ' True'" in found.failure


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match=r"model is ''"):
        ServerCfg()
    with pytest.raises(ConfigError, match=r"queue is 0, but must be >= 1"):
        ServerCfg(model="m", queue=0)
    with pytest.raises(ConfigError, match=r"must be like http://"):
        ServerEngine(ServerCfg(model="m", url="localhost:8000"))


def test_settings_survive_json():
    cfg = ServerCfg(model="m")
    assert json.loads(json.dumps(vars(cfg))) == vars(cfg)
