import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.errors import CheckpointError, ConfigError, DataError
from robot_rl.reward.written.candidate import Trial
from robot_rl.reward.written.sandbox import SandboxCfg
from robot_rl.reward.written.search import Search, SearchCfg, best_of, finished_rounds

LIMITS = SandboxCfg(cpu_s=1, wall_s=280, memory_bytes=200_000_000)
TWO = SearchCfg(rounds=2, candidates=2, sandbox=LIMITS)
WAIT_S = 20.0


@pytest.fixture
def search(schema, examples, tmp_path):
    def make(server, cfg=TWO, folder=tmp_path / "search", **more):
        return Search(cfg, schema, examples, server.engine(), folder, **more)

    return make


def test_each_bad_answer_is_stopped_with_its_reason_and_the_good_one_is_found(
    play, search, answers, tmp_path
):
    bad = answers["bad"]
    said = [*bad.values(), answers["good"], answers["good"]]
    server = play(lambda prompt, draft: said[draft])
    cfg = SearchCfg(rounds=1, candidates=len(said), sandbox=LIMITS)
    (found,) = search(server, cfg).run()
    for kind, candidate in zip(bad, found.candidates, strict=False):
        assert answers["reasons"][kind] in candidate.failure, kind
        assert candidate.figures is None and candidate.answer == bad[kind]
    good, twin = found.candidates[-2:]
    assert found.best == good and good.figures.worth > 0.9
    assert twin.failure == f"the same function as answer 1.{len(said) - 1}"
    assert server.temperature == 1.0
    assert finished_rounds(tmp_path / "search") == [found]


def test_the_next_round_is_told_figures_and_reasons(play, search, answers):
    def say(prompt, draft):
        if "The best function so far" not in prompt:
            return (answers["good"], answers["bad"]["looping"])[draft]
        return (answers["better"], answers["bad"]["no code"])[draft]

    server = play(say)
    rounds = search(server).run()
    first, second = rounds[0].prompt, rounds[1].prompt
    assert "gap_m: float64 (N, 2) [m] in world" in first and "reach" in first
    assert second.startswith(first)
    assert rounds[0].best.source.strip() in second
    for words in ("rank correlation of progress", "- near: ", "- still: ", "fooled by"):
        assert words in second
    assert "- line 2: a loop is not allowed" in second
    assert best_of(rounds).rank == max(r.best.rank for r in rounds)


def test_a_round_without_a_function_is_followed_by_another(play, search, answers):
    def say(prompt, draft):
        return answers["good"] if "Other answers were refused" in prompt else "no"

    rounds = search(play(say)).run()
    assert rounds[0].best is None and best_of(rounds) == rounds[1].candidates[0]


def test_a_server_that_never_answers_ends_the_search_and_keeps_finished_rounds(
    play, search, answers, tmp_path
):
    def say(prompt, draft):
        return None if "The best function so far" in prompt else answers["good"]

    server = play(say)
    with pytest.raises(DataError, match="writer gave no answer: the server answers 503"):
        search(server).run()
    assert len(finished_rounds(tmp_path / "search")) == 1


def test_one_lost_answer_is_one_refused_candidate(play, search, answers):
    server = play(lambda prompt, draft: None if draft else answers["good"])
    (found,) = search(server, replace(TWO, rounds=1)).run()
    assert found.candidates[1].failure.startswith("no answer: the server answers 503")
    assert found.best == found.candidates[0]


def test_a_finished_search_asks_nothing_and_more_rounds_go_on(play, search, answers):
    server = play(lambda prompt, draft: answers["good"])
    before = search(server).run()
    asked = len(server.prompts)
    assert search(server).run() == before and len(server.prompts) == asked
    more = search(server, replace(TWO, rounds=3)).run()
    assert more[:2] == before and len(more) == 3 and len(server.prompts) == asked + 2


def test_another_search_in_the_same_folder_is_refused(play, search, answers):
    server = play(lambda prompt, draft: answers["good"])
    search(server).run()
    with pytest.raises(ConfigError, match=r"holds another search \(cfg.candidates: 2 -> 3\)"):
        search(server, replace(TWO, candidates=3)).run()


def test_a_damaged_round_is_said_to_be(play, search, answers, tmp_path):
    search(play(lambda prompt, draft: answers["good"])).run()
    path = tmp_path / "search" / "rounds" / "round_000.json"
    path.write_text(path.read_text()[:-50])
    with pytest.raises(CheckpointError, match=r"round_000\.json is damaged"):
        finished_rounds(tmp_path / "search")


def test_training_has_the_last_word_and_is_done_once(play, search, answers):
    trained = []

    def trainer(model: Path, out: Path) -> Trial:
        source = json.loads((model / "written.json").read_text())["source"]
        trained.append(source)
        success = 0.8 if "0.99 * near" in source else 0.3
        return Trial(success=success, words=f"success {success:.0%}")

    said = (answers["good"], answers["better"])
    server = play(lambda prompt, draft: said[draft])
    cfg = replace(TWO, rounds=1, finalists=2)
    (found,) = search(server, cfg, trainer=trainer).run()
    assert found.best.trial == Trial(success=0.8, words="success 80%")
    assert "0.99 * near" in found.best.source and len(trained) == 2
    rounds = search(server, replace(cfg, rounds=2), trainer=trainer).run()
    assert "Short training with it as a potential: success 80%" in rounds[1].prompt
    assert len(trained) == 2  # the second round brought nothing new


SCRIPT = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from robot_rl.reward.vlm.server import ServerCfg, ServerEngine
    from robot_rl.reward.written.sandbox import SandboxCfg
    from robot_rl.reward.written.schema import StateSchema
    from robot_rl.reward.written.scoring import Examples
    from robot_rl.reward.written.search import Search, SearchCfg
    import importlib.util
    url, folder, where = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("reach", where)
    reach = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reach)
    wins = {f"win {s}": reach.reach(s) for s in range(8)}
    losses = {f"loss {s}": reach.reach(50 + s, until=0.3 + 0.1 * s) for s in range(5)}
    schema = StateSchema.from_plain(json.loads(Path(folder, "schema.json").read_text()))
    limits = SandboxCfg(cpu_s=1, wall_s=280, memory_bytes=200_000_000)
    cfg = SearchCfg(rounds=3, candidates=2, sandbox=limits)
    with ServerEngine(ServerCfg(url=url, model="writer")) as engine:
        Search(cfg, schema, Examples.of(wins | losses, "reach"), engine, Path(folder)).run()
    """
)


def test_kill_9_loses_no_finished_round(play, search, answers, schema, tmp_path):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(schema.to_plain()))
    child = None

    def say(prompt, draft):
        if "The best function so far" in prompt and child is not None and child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)  # in the midst of the second round
            child.wait()
        return (answers["good"], answers["better"])[draft]

    server = play(say)
    reach = Path(__file__).parents[1] / "conftest.py"
    command = [sys.executable, "-c", SCRIPT, server.url, str(folder), str(reach)]
    child = subprocess.Popen(command)
    child.wait(timeout=120)
    kept = finished_rounds(folder)
    assert len(kept) == 1
    asked = len(server.prompts)
    cfg = SearchCfg(rounds=3, candidates=2, sandbox=LIMITS)
    rounds = search(server, cfg, folder).run()
    assert rounds[0] == kept[0] and len(rounds) == 3
    assert len(server.prompts) == asked + 4


def test_a_sandbox_does_not_outlive_a_killed_search(play, answers, schema, tmp_path):
    """Its process reads a closed pipe, and goes."""
    code = textwrap.dedent(
        """
        import time, numpy as np
        from robot_rl.reward.written.sandbox import Sandbox
        sandbox = Sandbox()
        sandbox.start()
        print(sandbox._child.pid, flush=True)
        time.sleep(600)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(child.stdout.readline())
    child.kill()
    child.communicate()
    deadline_s = time.monotonic() + WAIT_S
    while _is_alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid):
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
