"""Wrong instructions for a right film, written by one language model and checked by another look.

learning:  episode store → **lessons** → fine-tuned model → progress model → replay

A film of a success says nothing about failure, but the same film judged by an instruction that it
meets only in part does. The model is asked for one instruction for each of the scores 1 to 4, then
for the score of the film under each of them; only those that agree are kept.
Ref: RoboReward, arXiv 2601.00675, section on counterfactual relabelling.
"""

from collections.abc import Sequence

from robot_rl.reward.vlm.answer import json_field
from robot_rl.reward.vlm.chat import ChatEngine, ChatReply, ChatRequest, Video
from robot_rl.reward.vlm.roboreward import parse_score, score_request

__all__ = ["parse_instructions", "propose_request", "wrong_instructions"]

_SCORES = (1, 2, 3, 4)
_LONGEST = 200


def propose_request(task: str, film: Video) -> ChatRequest:
    """Ask for instructions that the film meets less and less."""
    return ChatRequest(
        parts=(
            film,
            f"The robot was told: {task}. It did so.\n"
            "Describe what the video shows at its end. Then write four other instructions for the "
            "same scene, so that the end of the video would be worth, of 5 points:\n"
            "1: nothing of it is done. 2: a first, small part. 3: about half, a necessary step is "
            "missing. 4: nearly done, a small flaw.\n"
            "Name only objects that are to be seen. Finish with one line of JSON: "
            '{"instructions": {"1": "...", "2": "...", "3": "...", "4": "..."}}.',
        ),
        max_new_tokens=512,
    )


def parse_instructions(reply: ChatReply, task: str) -> dict[int, str]:
    """Instructions by score; those that are missing, endless or the true one are left out."""
    rows = None if reply.failure else json_field(reply.text, "instructions")
    if not isinstance(rows, dict):
        return {}
    found = {score: rows.get(str(score)) for score in _SCORES}
    return {
        score: " ".join(text.split())
        for score, text in found.items()
        if isinstance(text, str)
        and 0 < len(text.strip()) <= _LONGEST
        and text.strip().casefold() != task.strip().casefold()
    }


def wrong_instructions(
    engine: ChatEngine, films: Sequence[tuple[str, Video]]
) -> list[dict[int, str]]:
    """For each task and film, instructions by score that both looks agree on."""
    proposed = [
        parse_instructions(reply, task)
        for reply, (task, _) in zip(
            engine.answer([propose_request(task, film) for task, film in films]),
            films,
            strict=True,
        )
    ]
    asked = [(at, score, text) for at, rows in enumerate(proposed) for score, text in rows.items()]
    checked = engine.answer(
        [score_request(text, films[at][1], weigh=False) for at, _, text in asked]
    )
    kept: list[dict[int, str]] = [{} for _ in films]
    for (at, score, text), reply in zip(asked, checked, strict=True):
        if parse_score(reply) == (score - 1) / 4:
            kept[at][score] = text
    return kept
