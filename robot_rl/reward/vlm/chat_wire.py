"""A request as the JSON of /v1/chat/completions, and a reply read back; no network here.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

What the OpenAI interface itself cannot say (a begun answer, no template, the likelihood of a given
text, a film) is said in vLLM's extensions of it.
"""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest, Part, Video
from robot_rl.types import U8

__all__ = ["MAX_TOP_LOGPROBS", "data_url", "payloads", "read_reply"]

MAX_TOP_LOGPROBS = 20
"""As many alternatives as the interface allows to ask for."""

_RAW_TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
)


def data_url(image: U8, max_pixels: int) -> str:
    """An image (H, W, 3) as a JPEG data URL of at most `max_pixels`."""
    return f"data:image/jpeg;base64,{_jpeg(image, max_pixels)}"


def _jpeg(image: U8, max_pixels: int) -> str:
    height, width = image.shape[:2]
    scale = math.sqrt(max_pixels / (height * width))
    if scale < 1.0:
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not ok:
        raise ConfigError(f"an image of {image.shape} cannot be encoded as JPEG.")
    return base64.b64encode(data.tobytes()).decode()


def payloads(
    request: ChatRequest, model: str, *, max_pixels: int, vllm: bool
) -> list[dict[str, Any]]:
    """The JSON bodies that a request takes: one, or one for each choice of a raw one.

    Raises:
        ConfigError: Only vLLM can answer this.
    """
    if (request.raw or request.answer_start) and not vllm:
        raise ConfigError(
            "this judge begins the model's answer or weighs a given text, which only vLLM can do. "
            "Set vllm=True if the server is vLLM, else let the judge read written answers."
        )
    body: dict[str, Any] = {
        "model": request.adapter or model,
        "max_tokens": 1 if request.choices else request.max_new_tokens,
        "temperature": request.temperature,
    }
    content = [row for part in request.parts for row in _content(part, max_pixels, vllm)]
    if request.raw:
        body |= {"chat_template": _RAW_TEMPLATE, "add_generation_prompt": False}
        ends = [request.answer_start + choice for choice in request.choices or ("",)]
        if request.choices:
            body["prompt_logprobs"] = 0
        texts = [[{"type": "text", "text": end}] if end else [] for end in ends]
        return [body | {"messages": [_user([*content, *end])]} for end in texts]
    messages = [_user(content)]
    if request.answer_start:
        messages.append({"role": "assistant", "content": request.answer_start})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": MAX_TOP_LOGPROBS}
    return [body | {"messages": messages}]


def _user(content: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def _content(part: Part, max_pixels: int, vllm: bool) -> list[dict[str, Any]]:
    if isinstance(part, str):
        return [{"type": "text", "text": part}]
    if isinstance(part, Video):
        if vllm:
            frames = ",".join(_jpeg(frame, max_pixels) for frame in part.frames)
            url = f"data:video/jpeg;base64,{frames}"
            return [{"type": "video_url", "video_url": {"url": url}}]
        rows = []
        for at, frame in enumerate(part.frames):
            rows.append({"type": "text", "text": f"After {at / part.fps:.1f} s:"})
            rows += _content(frame, max_pixels, vllm)
        return rows
    return [{"type": "image_url", "image_url": {"url": data_url(part, max_pixels)}}]


def read_reply(request: ChatRequest, bodies: Sequence[bytes]) -> ChatReply:
    """The reply in the JSON that came back for each of the payloads."""
    try:
        rows = [json.loads(body, parse_constant=_refuse) for body in bodies]
        if request.raw and request.choices:
            pairs = zip(rows, request.choices, strict=True)
            logp = [_prompt_logp(row["prompt_logprobs"], choice) for row, choice in pairs]
            return ChatReply(choice_logp=np.array(logp))
        answer = rows[0]["choices"][0]
        if request.choices:
            top = answer["logprobs"]["content"][0]["top_logprobs"]
            return ChatReply(choice_logp=np.array(_top_logp(top, request.choices)))
        if (why := answer.get("finish_reason")) not in ("stop", None):
            return ChatReply(failure=f"the answer ended early: {why!r}")
        if not isinstance(text := answer["message"]["content"], str):
            raise TypeError("content is no text")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        return ChatReply(failure=f"the reply is not as it must be: {type(error).__name__} {error}")
    return ChatReply(text=text)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _top_logp(top: Sequence[dict[str, Any]], choices: Sequence[str]) -> list[float]:
    """Ln P of each choice as the next token; one that is not listed is as likely as the last."""
    listed = {str(row["token"]): _logp(row["logprob"]) for row in top}
    if not any(choice in listed for choice in choices):
        raise ValueError(f"none of {list(choices)} is among the likeliest tokens {list(listed)}")
    least = min(listed.values())
    return [listed.get(choice, least) for choice in choices]


def _prompt_logp(tokens: Sequence[dict[str, Any] | None], ending: str) -> float:
    """Ln P of the tokens at the end of the prompt that spell `ending`."""
    total, left = 0.0, ending
    for row in reversed(tokens):
        if not left:
            break
        for token in (row or {}).values():
            word = token["decoded_token"]
            if word and left.endswith(word):
                total += _logp(token["logprob"])
                left = left[: -len(word)]
                break
        else:
            raise ValueError(f"the prompt's tokens do not end in {ending!r}")
    if left:
        raise ValueError(f"the prompt's tokens do not end in {ending!r}")
    return total


def _logp(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 < value <= 1e-3:
        raise ValueError(f"{value!r} is no log-probability")
    return float(value)
