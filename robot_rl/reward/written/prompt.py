"""What the language model is asked, and what it is told of its last answers.

learning:  schema, figures → **prompt** → language model → source

One user turn each time: the task, the fields with their units and recorded values, the rules, and
from the second round on the best function so far with its figures, part by part, and why others
were refused. Ref: Eureka (arXiv 2310.12931) keeps the conversation as short, and Text2Reward
(arXiv 2309.11489) describes the state in typed form.
"""

import math
from collections.abc import Sequence

from robot_rl.reward.written.candidate import Candidate
from robot_rl.reward.written.schema import StateSchema
from robot_rl.reward.written.scoring import Examples, Figures
from robot_rl.reward.written.vocabulary import ENTRY, METHODS, NUMPY

__all__ = ["first_prompt", "next_prompt", "reflection"]

_MOST_REASONS = 6

_RULES = """\
Write one Python function that says how far the task is done.

def {entry}(<names of fields>):
    ...
    return progress, {{"<component>": <its values>, ...}}

Rules:
- Its arguments are some of the fields above, by name, as float64 arrays (N, k): N independent
  states, in no order. It returns `progress` of shape (N,), and a dict of up to 12 components,
  each (N,): the parts that it is made of. They are measured one by one and told back to you.
- progress is 0 where the task has not begun and 1 where it is done, and rises steadily on the
  way: every stage must count, and the last one most. It must be high nowhere else: not when the
  robot waits near the goal, not when it goes through the motions beside the object.
- It depends on the one state alone: reduce along axis=-1 only. No history, no randomness.
- Straight-line code: variables, arithmetic, comparisons, `np.where` for cases. No import, no
  loop, no if, no nested function, no index but constants and slices.
- Of numpy (as np) there are: {numpy}.
- Methods of arrays: {methods}. Of Python: abs, float.
- Always finite: guard divisions, roots and logarithms.
Think first, briefly; then give the function in one ```python block."""


def first_prompt(schema: StateSchema, examples: Examples) -> str:
    """What is asked first.

    Args:
        schema: The task and its state.
        examples: Whose successes show how it begins and ends.
    """
    parts = [
        "A robot learns a task, and needs to know at every moment how far it has come.",
        f"Task: {schema.instruction}",
    ]
    if schema.success:
        parts.append(f"It counts as done when this holds: {schema.success}")
    wins, told = int(examples.success.sum()), schema.describe(*examples.at_ends())
    rules = _RULES.format(
        entry=ENTRY, numpy=", ".join(sorted(NUMPY)), methods=", ".join(sorted(METHODS))
    )
    return "\n\n".join([*parts, f"The state (medians of {wins} successes):\n{told}", rules])


def next_prompt(first: str, best: Candidate | None, last_round: Sequence[Candidate]) -> str:
    """What is asked after a round.

    Args:
        first: The first prompt.
        best: The best function of all rounds, None if there is none.
        last_round: All answers of the last round; why some were refused is told.
    """
    parts = [first]
    if best is not None and best.figures is not None:
        parts += [
            "The best function so far:",
            f"```python\n{best.source.strip()}\n```",
            reflection(best.figures),
        ]
        if best.trial is not None:
            parts.append(f"Short training with it as a potential: {best.trial.words}")
    reasons = list(dict.fromkeys(c.failure for c in last_round if c.failure))
    if reasons:
        told = "\n".join(f"- {reason}" for reason in reasons[:_MOST_REASONS])
        parts.append(f"Other answers were refused:\n{told}")
    parts.append(
        "Write a better function by the rules above. Keep what works, and mend what the figures "
        "blame: a component that hardly changes or runs against time on successes, progress that "
        "falls on the way, failures that end high, and ways in which it was fooled."
        if best is not None
        else "Write a function that keeps to the rules above."
    )
    return "\n\n".join(parts)


def draft_note(index: int, count: int) -> str:
    """A line that makes answers of one round differ from each other."""
    return f"This is draft {index + 1} of {count}; let it differ from the others in its idea."


def reflection(figures: Figures) -> str:
    """Figures in words for who wrote the function."""
    lines = [
        f"Measured on {figures.states} recorded states:",
        f"- rank correlation of progress with time on successes: {figures.voc:.2f} (1 is best)",
        f"- longest fall of progress on a success, on average: {figures.drop:.2f} (0 is best)",
        f"- progress at the end of successes: {figures.final:.2f} (1 is best)",
    ]
    if math.isfinite(figures.auc):
        lines += [
            f"- chance that a success ends above what a failure holds: {figures.auc:.2f}",
            f"- successes end above failures by {figures.gap:.2f}",
        ]
    fooled = [f"{kind} ({share:.0%})" for kind, share in figures.fooled_by.items() if share > 0]
    lines.append(f"- fooled by: {', '.join(fooled) or 'nothing that was tried'}")
    lines.append("Components, on average (start, middle and end of successes; end of failures):")
    for name, part in figures.components.items():
        failed = f"; {part.failed:.3g}" if math.isfinite(part.failed) else ""
        lines.append(
            f"- {name}: {part.start:.3g}, {part.middle:.3g}, {part.end:.3g}{failed}; rank "
            f"correlation with time {part.order:.2f}"
        )
    return "\n".join(lines)
