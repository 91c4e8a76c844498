"""Text, images and films as the tensors that Qwen2.5-VL and Qwen3-VL read.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

The official processors need torchvision for films, and cannot even be built without it; the image
processor alone can. So the text is expanded here: one pad token for each merged patch, the token
types that the position ids are made from (without them Qwen2.5-VL silently computes others), and
films as pairs of frames with the times that the model was trained to read. Tests compare with the
official processors.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from robot_rl.errors import ConfigError
from robot_rl.reward.vlm.chat import ChatRequest, Video
from robot_rl.types import U8

__all__ = ["Encoded", "QwenEncoder", "collate"]

IMAGE_TYPE, VIDEO_TYPE = 1, 2
"""Token types that the models' position ids are made from; text is 0."""

_START, _END = "<|vision_start|>", "<|vision_end|>"
_IMAGE, _VIDEO = "<|image_pad|>", "<|video_pad|>"
_SHOWN = re.compile(
    "|".join(re.escape(_START + pad + _END) for pad in (_IMAGE, _VIDEO)),
)
_WITH_TIMES = ("qwen3_vl", "qwen3_vl_moe")
"""Model types that read a film's times as text, not as positions."""


@dataclass(kw_only=True)
class Encoded:
    """One request, tokenised.

    Attributes:
        ids: Token ids.
        types: Token types, one for each id.
        image_patches: Each (n, C·t·p·p) float32.
        image_grids: Each (1, h, w) in patches.
        video_patches: As for images.
        video_grids: Each (t, h, w) in patches.
        grid_seconds: Time between two temporal patches of each film [s].
    """

    ids: list[int]
    types: list[int]
    image_patches: list[torch.Tensor] = field(default_factory=list)
    image_grids: list[tuple[int, int, int]] = field(default_factory=list)
    video_patches: list[torch.Tensor] = field(default_factory=list)
    video_grids: list[tuple[int, int, int]] = field(default_factory=list)
    grid_seconds: list[float] = field(default_factory=list)


class QwenEncoder:
    """Makes `Encoded` from requests, with the tokenizer and image processor of a checkpoint."""

    def __init__(
        self, tokenizer: Any, image_processor: Any, model_type: str, pixels: tuple[int, int]
    ) -> None:
        self.tokenizer = tokenizer
        self._images = image_processor
        self._with_times = model_type in _WITH_TIMES
        self._size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
        self._merged = image_processor.merge_size**2
        self._pair = image_processor.temporal_patch_size
        self._image_id, self._video_id = tokenizer.convert_tokens_to_ids([_IMAGE, _VIDEO])
        self.image_end_id: int = tokenizer.convert_tokens_to_ids(_END)

    def encode(self, request: ChatRequest) -> Encoded:
        """Tokenise one request, `answer_start` included.

        Raises:
            ConfigError: An image is too long and thin to be read.
        """
        done = Encoded(ids=[], types=[])
        shown = self._shown(request, done)
        text = _SHOWN.sub(lambda _: next(shown), self._text(request))
        if next(shown, None) is not None:
            raise ConfigError(
                "the chat template leaves images out. Use a vision model's template."
            )
        done.ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        kinds = {self._image_id: IMAGE_TYPE, self._video_id: VIDEO_TYPE}
        done.types = [kinds.get(token, 0) for token in done.ids]
        return done

    def _text(self, request: ChatRequest) -> str:
        """The whole prompt, with one placeholder for each image or film."""
        content = [
            {"type": "text", "text": _disarmed(part)}
            if isinstance(part, str)
            else {"type": "video" if isinstance(part, Video) else "image"}
            for part in request.parts
        ]
        if request.raw:
            pads = {"image": _START + _IMAGE + _END, "video": _START + _VIDEO + _END}
            text = "".join(row.get("text", pads.get(row["type"], "")) for row in content)
        elif not self.tokenizer.chat_template:
            raise ConfigError(
                "the tokenizer has no chat template. Use an instruction-tuned model."
            )
        else:
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        return text + request.answer_start

    def _shown(self, request: ChatRequest, done: Encoded) -> Iterator[str]:
        """For each image or film in order: keep its patches in `done`, give its text."""
        for part in request.parts:
            if isinstance(part, Video):
                yield self._film(part, done)
            elif isinstance(part, np.ndarray):
                patches, (grid,) = self._patches([part])
                done.image_patches.append(patches)
                done.image_grids.append(grid)
                yield _START + _IMAGE * (grid[1] * grid[2] // self._merged) + _END

    def _film(self, film: Video, done: Encoded) -> str:
        frames = list(film.frames)
        frames += frames[-1:] * (-len(frames) % self._pair)
        patches, grids = self._patches(frames)
        times, (_, height, width) = len(frames) // self._pair, grids[0]
        # The image processor repeats each frame to fill a temporal patch: take one, pair them up.
        shape = (times, self._pair, height * width, 3, self._pair, -1)
        single = patches.reshape(shape)[:, :, :, :, 0]
        paired = single.permute(0, 2, 3, 1, 4).reshape(times * height * width, -1)
        done.video_patches.append(paired)
        done.video_grids.append((times, height, width))
        done.grid_seconds.append(self._pair / film.fps)
        pads = _VIDEO * (height * width // self._merged)
        if not self._with_times:
            return _START + pads * times + _END
        rows = np.minimum(np.arange(len(frames)), len(film.frames) - 1).reshape(times, self._pair)
        stamps = (rows[:, 0] + rows[:, -1]) / 2 / film.fps
        return "".join(f"<{stamp:.1f} seconds>{_START}{pads}{_END}" for stamp in stamps)

    def _patches(self, images: Sequence[U8]) -> tuple[torch.Tensor, list[tuple[int, int, int]]]:
        """Patches of images one after another (n, C·t·p·p), and the grid of each."""
        try:
            made = self._images(images=list(images), size=self._size, return_tensors="pt")
        except ValueError as error:
            raise ConfigError(f"an image of {images[0].shape} cannot be read: {error}.") from error
        grids = [tuple(map(int, grid)) for grid in made["image_grid_thw"]]
        return made["pixel_values"], grids  # type: ignore[return-value]


def collate(batch: Sequence[Encoded], pad_id: int, with_seconds: bool) -> dict[str, torch.Tensor]:
    """Inputs of one forward pass; shorter rows are padded on the left.

    Args:
        batch: Encoded requests.
        pad_id: Token that fills up.
        with_seconds: Whether the model takes the time between temporal patches of films.
    """
    length = max(len(each.ids) for each in batch)

    def rows(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[fill] * (length - len(row)) + list(row) for row in values])

    inputs = {
        "input_ids": rows([each.ids for each in batch], pad_id),
        "attention_mask": rows([[1] * len(each.ids) for each in batch], 0),
        "mm_token_type_ids": rows([each.types for each in batch], 0),
    }
    for kind, values in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        patches = [p for each in batch for p in getattr(each, f"{kind}_patches")]
        if patches:
            grids = [g for each in batch for g in getattr(each, f"{kind}_grids")]
            inputs[values] = torch.cat(patches)
            inputs[f"{kind}_grid_thw"] = torch.tensor(grids)
    seconds = [s for each in batch for s in each.grid_seconds]
    if seconds and with_seconds:
        inputs["second_per_grid_ts"] = torch.tensor(seconds)
    return inputs


def _disarmed(text: str) -> str:
    """`text` without special tokens: an instruction must not end the turn or add an image."""
    return text.replace("<|", "< |")
