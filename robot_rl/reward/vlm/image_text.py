"""CLIP and SigLIP from a Hugging Face directory: images and texts as vectors in one space.

learning:  transition → episode store → **progress model** → replay → residual agent → weights

Needs transformers and torch, not torchvision; nothing is downloaded.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_rl.errors import CheckpointError, ConfigError, UnknownNameError
from robot_rl.reward.vlm.local import checkpoint_digest, transformers_module
from robot_rl.types import F64, U8

__all__ = ["ImageTextCfg", "ImageTextEncoder"]

MODEL_TYPES = ("clip", "siglip")


@dataclass(frozen=True, kw_only=True)
class ImageTextCfg:
    """Which checkpoint, and where it runs."""

    folder: Path
    """A Hugging Face directory: config.json, tokenizer, image processor, safetensors."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1 ..."""
    batch: int = 32
    """Most images in one forward pass."""

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if self.batch < 1:
            raise ConfigError(f"batch is {self.batch}, but must be >= 1.")


class ImageTextEncoder:
    """Embeds images and texts; the model is loaded when it is needed first."""

    def __init__(self, cfg: ImageTextCfg) -> None:
        self.cfg = cfg
        self._lock = threading.Lock()
        self._parts: tuple[Any, Any, Any] | None = None

    @property
    def model_id(self) -> str:
        """Folder name and a digest of what lies in it."""
        return f"{self.cfg.folder.name}@{checkpoint_digest(self.cfg.folder)}"

    def images(self, images: Sequence[U8]) -> F64:
        """Embeddings (n, d) of images, each (H, W, 3)."""
        with self._lock:
            model, _, processor = self._load()

            def embed(part: Sequence[U8]) -> Any:
                return model.get_image_features(
                    **self._on_device(processor(images=list(part), return_tensors="pt"))
                )

            return self._embed(images, embed)

    def texts(self, texts: Sequence[str]) -> F64:
        """Embeddings (n, d) of texts; what is longer than the model reads is cut."""
        with self._lock:
            model, tokenizer, _ = self._load()
            length = model.config.text_config.max_position_embeddings
            # SigLIP was trained with every text padded to full length, CLIP was not.
            padding = "max_length" if model.config.model_type == "siglip" else True

            def embed(part: Sequence[str]) -> Any:
                words = tokenizer(
                    list(part),
                    padding=padding,
                    truncation=True,
                    max_length=length,
                    return_tensors="pt",
                )
                if model.config.model_type == "siglip":
                    words = {"input_ids": words["input_ids"]}
                return model.get_text_features(**self._on_device(words))

            return self._embed(texts, embed)

    def _embed(self, items: Sequence[Any], embed: Callable[[Sequence[Any]], Any]) -> F64:
        rows = []
        with torch.inference_mode():
            for first in range(0, len(items), self.cfg.batch):
                found = embed(items[first : first + self.cfg.batch])
                # transformers 5 returns an output object where 4 returned the tensor.
                found = getattr(found, "pooler_output", found)
                rows.append(found.double().cpu().numpy())
        return np.concatenate(rows)

    def _on_device(self, inputs: Any) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.cfg.device) for name, tensor in inputs.items()}

    def _load(self) -> tuple[Any, Any, Any]:
        if self._parts is None:
            transformers, folder = transformers_module(), self.cfg.folder
            if not (folder / "config.json").is_file():
                raise CheckpointError(f"{folder} has no config.json. Give a checkpoint's folder.")
            try:
                model = transformers.AutoModel.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True
                )
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    folder, local_files_only=True
                )
                images = transformers.AutoImageProcessor.from_pretrained(
                    folder, local_files_only=True
                )
            except (OSError, ValueError, KeyError) as error:
                raise CheckpointError(f"{folder} cannot be read: {error}") from error
            if model.config.model_type not in MODEL_TYPES:
                raise UnknownNameError("model type", model.config.model_type, MODEL_TYPES)
            self._parts = (model.to(self.cfg.device).eval(), tokenizer, images)
        return self._parts
