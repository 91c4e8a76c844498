"""A vision-language model in this process, from a Hugging Face directory; nothing is downloaded.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Qwen2.5-VL and Qwen3-VL. Needs transformers and torch, not torchvision.
"""

import hashlib
import importlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from robot_rl.errors import CheckpointError, ConfigError, MissingExtraError, UnknownNameError
from robot_rl.reward.vlm.chat import ChatReply, ChatRequest
from robot_rl.reward.vlm.lora import AdapterSwitch
from robot_rl.reward.vlm.qwen_inputs import Encoded, QwenEncoder, collate

__all__ = ["MODEL_TYPES", "LocalCfg", "LocalEngine", "checkpoint_digest", "transformers_module"]

MODEL_TYPES = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalCfg:
    """Which checkpoint, where it runs, and how large images are shown."""

    folder: Path
    """A Hugging Face directory: config.json, tokenizer, image processor, safetensors."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1 ..."""
    dtype: str = "float32"
    """Precision of the weights: float32, bfloat16 or float16."""
    batch: int = 8
    """Most requests in one forward pass; halved when memory runs out."""
    min_pixels: int = 12_544
    """Smaller images are enlarged to this many pixels; the default is that of the hop models."""
    max_pixels: int = 76_800
    """Larger images are shrunk to this many pixels."""
    adapters: dict[str, Path] = field(default_factory=dict)
    """Fine-tuned adapters by name: folders that `robot_rl.reward.vlm.finetune` wrote."""

    def __post_init__(self) -> None:
        """Refuse sizes and precisions that no model has."""
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        if self.batch < 1:
            raise ConfigError(f"batch is {self.batch}, but must be >= 1.")
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(
                f"min_pixels is {self.min_pixels}, but must be within 1 and max_pixels, which is "
                f"{self.max_pixels}."
            )


class LocalEngine:
    """Answers requests with a model in this process; the model is loaded by the first of them."""

    def __init__(self, cfg: LocalCfg) -> None:
        self.cfg = cfg
        self._lock = threading.RLock()  # one forward pass at a time: memory is what is scarce
        self._loaded: LoadedModel | None = None

    @property
    def model_id(self) -> str:
        """Folder name and a digest of what lies in it."""
        return f"{self.cfg.folder.name}@{checkpoint_digest(self.cfg.folder)}"

    def load(self) -> "LoadedModel":
        """The model, read from disk when it is needed first.

        Raises:
            MissingExtraError: transformers is not installed.
            CheckpointError: The folder holds no such model.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = LoadedModel.read(self.cfg)
            return self._loaded

    @contextmanager
    def exclusive(self, adapter: str) -> Iterator[None]:
        """The model to oneself, with this adapter in force."""
        loaded = self.load()
        with self._lock:
            loaded.adapters.select(adapter)
            yield

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Replies in order; requests of a kind share forward passes.

        Raises:
            MissingExtraError: transformers is not installed.
            CheckpointError: The folder holds no such model.
        """
        loaded = self.load()
        start_s = time.monotonic()
        replies: dict[int, ChatReply] = {}
        with self._lock, torch.inference_mode():
            for rows in _alike(requests):
                for first in range(0, len(rows), self.cfg.batch):
                    part = rows[first : first + self.cfg.batch]
                    found = loaded.answer([requests[row] for row in part])
                    took_s = time.monotonic() - start_s
                    replies |= {
                        row: replace(reply, latency_s=took_s)
                        for row, reply in zip(part, found, strict=True)
                    }
        return [replies[row] for row in range(len(requests))]


@dataclass(kw_only=True, eq=False)
class LoadedModel:
    """A model in memory with what it takes to ask it."""

    model: Any
    encoder: QwenEncoder
    adapters: AdapterSwitch
    pad_id: int
    end_ids: tuple[int, ...]
    with_seconds: bool

    @classmethod
    def read(cls, cfg: LocalCfg) -> "LoadedModel":
        """Read a checkpoint; nothing is downloaded and none of its code is run."""
        transformers = transformers_module()
        if not (cfg.folder / "config.json").is_file():
            raise CheckpointError(f"{cfg.folder} has no config.json. Give a checkpoint's folder.")
        try:
            model = transformers.AutoModelForImageTextToText.from_pretrained(
                cfg.folder, dtype=DTYPES[cfg.dtype], local_files_only=True, use_safetensors=True
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                cfg.folder, local_files_only=True
            )
            images = transformers.AutoImageProcessor.from_pretrained(
                cfg.folder, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{cfg.folder} cannot be read: {error}") from error
        kind = model.config.model_type
        if kind not in MODEL_TYPES:
            raise UnknownNameError("model type", kind, MODEL_TYPES)
        model.to(cfg.device).eval().requires_grad_(False)
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        end_ids = {token for token in (*ends, tokenizer.eos_token_id) if token is not None}
        pad = tokenizer.pad_token_id
        return cls(
            model=model,
            encoder=QwenEncoder(tokenizer, images, kind, (cfg.min_pixels, cfg.max_pixels)),
            adapters=AdapterSwitch.read(model, cfg.adapters),
            pad_id=min(end_ids) if pad is None else pad,
            end_ids=tuple(sorted(end_ids)),
            with_seconds=kind == "qwen2_5_vl",
        )

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Replies to requests of one kind; those that cannot be encoded or held fail alone."""
        replies: dict[int, ChatReply] = {}
        encoded: dict[int, Encoded] = {}
        for row, request in enumerate(requests):
            try:
                encoded[row] = self.encoder.encode(request)
            except ConfigError as error:
                replies[row] = ChatReply(failure=str(error))
        self.adapters.select(requests[0].adapter)
        rows = list(encoded)
        for row, reply in zip(rows, self._halving(requests, rows, encoded), strict=True):
            replies[row] = reply
        return [replies[row] for row in range(len(requests))]

    def _halving(
        self, requests: Sequence[ChatRequest], rows: Sequence[int], encoded: dict[int, Encoded]
    ) -> list[ChatReply]:
        if not rows:
            return []
        batch, first = [encoded[row] for row in rows], requests[rows[0]]
        try:
            return self.weigh(batch, first.choices) if first.choices else self.write(batch, first)
        except torch.OutOfMemoryError:
            logger.warning("a batch of %d does not fit the memory of the device", len(rows))
        if len(rows) == 1:
            return [ChatReply(failure="one request does not fit the memory of the device")]
        half = len(rows) // 2
        return self._halving(requests, rows[:half], encoded) + self._halving(
            requests, rows[half:], encoded
        )

    def inputs(self, batch: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """A batch on the model's device, in its precision."""
        made = collate(batch, self.pad_id, self.with_seconds)
        device, dtype = self.model.device, self.model.dtype
        return {
            name: tensor.to(device, dtype if tensor.is_floating_point() else None)
            for name, tensor in made.items()
        }

    def write(self, batch: Sequence[Encoded], request: ChatRequest) -> list[ChatReply]:
        """Let the model write, the likeliest token each time unless the request is warm."""
        inputs = self.inputs(batch)
        made = self.model.generate(
            **inputs,
            max_new_tokens=request.max_new_tokens,
            do_sample=request.temperature > 0,
            temperature=request.temperature or None,
            top_p=None,
            top_k=None,
            pad_token_id=self.pad_id,
            eos_token_id=list(self.end_ids),
        )
        return [self._reply(row) for row in made[:, inputs["input_ids"].shape[1] :].tolist()]

    def _reply(self, tokens: Sequence[int]) -> ChatReply:
        ends = [at for at, token in enumerate(tokens) if token in self.end_ids]
        if not ends:
            return ChatReply(failure=f"cut off after {len(tokens)} tokens")
        text = self.encoder.tokenizer.decode(tokens[: ends[0]], skip_special_tokens=True)
        return ChatReply(text=text)

    def weigh(self, batch: Sequence[Encoded], choices: Sequence[str]) -> list[ChatReply]:
        """Log-probability of each choice as what comes next."""
        tokenizer = self.encoder.tokenizer
        answers = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in choices]
        if all(len(answer) == 1 for answer in answers):  # one pass answers all
            logits = self.model(**self.inputs(batch), logits_to_keep=1).logits[:, -1]
            logp = logits.double().log_softmax(dim=-1)[:, [answer[0] for answer in answers]]
        else:
            logp = torch.stack([self._logp(batch, answer) for answer in answers], dim=1)
        return [ChatReply(choice_logp=row) for row in logp.cpu().numpy()]

    def _logp(self, batch: Sequence[Encoded], answer: Sequence[int]) -> torch.Tensor:
        """Ln P(answer) after each of the batch's prompts, (n,)."""
        longer = [
            replace(each, ids=[*each.ids, *answer], types=[*each.types, *[0] * len(answer)])
            for each in batch
        ]
        kept = self.model(**self.inputs(longer), logits_to_keep=len(answer) + 1).logits[:, :-1]
        logp = kept.double().log_softmax(dim=-1)
        tokens = torch.tensor(answer, device=logp.device)
        return logp.gather(2, tokens.expand(len(batch), -1)[..., None])[..., 0].sum(dim=1)


def _alike(requests: Sequence[ChatRequest]) -> Iterator[list[int]]:
    """Rows of requests that may share a forward pass."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, request in enumerate(requests):
        key = (request.choices, request.max_new_tokens, request.adapter, request.temperature)
        groups.setdefault(key, []).append(row)
    yield from groups.values()


def transformers_module() -> ModuleType:
    """The transformers library.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise MissingExtraError("transformers", "vlm", "a local vision-language model") from error


def checkpoint_digest(folder: Path) -> str:
    """Digest of a checkpoint: its config, and the header of each weights file with its size."""
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
        with path.open("rb") as file:
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + file.read(65536))
    return digest.hexdigest()[:8]
