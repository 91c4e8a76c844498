"""Checkpoints with random weights and a real tokenizer, saved as their big relatives are."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

CORPUS = [
    "You judge how far a robot has come with a task. Task: put the red cube into the bowl.",
    "Answer with one signed percentage and nothing else, as in <score>+25.0%</score>.",
    "ANSWER: 1 2 3 4 5 6 7 8 9 0 True False yes no ImageA ImageB progress percent done closer",
    '{"progress": 0.4} {"done": "yes"} {"closer": "ImageA"} The video shows a robot. Statement',
]
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(eos="<|im_end|>", ends=False) -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows every byte, so that all of Unicode makes the round trip.

    With `ends` it appends `eos` to every text, as those of CLIP and SigLIP do.
    """
    raw = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS * 4, trainer)
    if ends:
        raw.post_processor = processors.TemplateProcessing(
            single=f"$A {eos}", special_tokens=[(eos, raw.token_to_id(eos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|endoftext|>", eos_token=eos, chat_template=TEMPLATE
    )


def _text(words, rope) -> dict:
    return {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default", **rope},
        "tie_word_embeddings": True,
        "initializer_range": 0.1,  # at 0.02 so narrow a model cannot prefer any token
    }


def _ids(words) -> dict:
    names = {
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
    }
    ends = {"bos_token_id": "<|endoftext|>", "eos_token_id": "<|im_end|>"}
    return {k: words.convert_tokens_to_ids(v) for k, v in {**names, **ends}.items()}


def _save(folder: Path, model, words, images) -> Path:
    for part in (model, words, images):
        part.save_pretrained(folder)
    return folder


def qwen2_5(folder: Path, seed: int = 0) -> Path:
    words = tokenizer()
    torch.manual_seed(seed)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    text = _text(words, {"mrope_section": [2, 3, 3]})
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_ids(words))
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2)
    return _save(folder, Qwen2_5_VLForConditionalGeneration(config), words, images)


def qwen3(folder: Path, seed: int = 0) -> Path:
    words = tokenizer()
    torch.manual_seed(seed)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    text = _text(words, {"mrope_section": [4, 2, 2], "mrope_interleaved": True})
    config = Qwen3VLConfig(
        text_config={**text, "head_dim": 16}, vision_config=vision, **_ids(words)
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return _save(folder, Qwen3VLForConditionalGeneration(config), words, images)


def clip(folder: Path, seed: int = 0) -> Path:
    words = tokenizer(eos="<|endoftext|>", ends=True)
    words.model_max_length = 32
    torch.manual_seed(seed)
    end = words.convert_tokens_to_ids("<|endoftext|>")
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **small,
            "vocab_size": len(words),
            "max_position_embeddings": 32,
            "bos_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    return _save(folder, CLIPModel(config), words, images)


def siglip(folder: Path, seed: int = 0) -> Path:
    words = tokenizer(eos="<|endoftext|>", ends=True)
    words.model_max_length = 32
    torch.manual_seed(seed)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 2}
    config = SiglipConfig(
        text_config={
            **small,
            "vocab_size": len(words),
            "max_position_embeddings": 32,
            "projection_size": 32,
        },
        vision_config={**small, "image_size": 32, "patch_size": 8},
    )
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return _save(folder, SiglipModel(config), words, images)
