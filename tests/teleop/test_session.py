"""The session against a model of the store: whatever is pressed, both agree on what is kept."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from robot_rl.errors import ConfigError
from robot_rl.teleop.devices.device import Event
from robot_rl.teleop.session import Act, Do, Session, SessionCfg, State


class Store:
    """Kept and trashed episodes, as the acts make them; refuses acts that make no sense."""

    def __init__(self):
        self.outcomes = {}
        self.trash = []
        self.count = 0
        self.is_open = False

    @property
    def last(self):
        return self.count - 1

    def carry_out(self, act):
        if act.do is Do.BEGIN:
            assert not self.is_open, "two episodes at once"
            self.is_open, self.count = True, self.count + 1
        elif act.do is Do.SEAL:
            assert self.is_open
            self.is_open = False
            self.outcomes[self.last] = act.outcome
        elif act.do is Do.DISCARD:
            assert self.is_open
            self.is_open = False
            self.trash.append((self.last, "unknown"))
        elif act.do is Do.DELETE:
            self.trash.append((self.last, self.outcomes.pop(self.last)))
        elif act.do is Do.RESTORE:
            name, _ = self.trash.pop()
            assert name == self.last, "undo brought an older episode back"
            self.outcomes[name] = act.outcome
        else:
            assert self.last in self.outcomes
            self.outcomes[self.last] = act.outcome

    def kept(self, outcome):
        return list(self.outcomes.values()).count(outcome)


class SessionMachine(RuleBasedStateMachine):
    """Any events at any time, with a gate that refuses now and then."""

    def __init__(self):
        super().__init__()
        self.cfg = SessionCfg(episodes=3, countdown_s=1.0, timeout_s=10.0, reset_s=2.0)
        self.session, self.store, self.now_s = Session(self.cfg), Store(), 50.0

    def carry_out(self, acts, refuses=False):
        for act in acts:
            if act.do is Do.SEAL and refuses:
                self.session.refused("refused: too short")
                act = Act(do=Do.DISCARD)
            self.store.carry_out(act)

    @rule(event=st.sampled_from([e for e in Event if e is not Event.QUIT]), refuses=st.booleans())
    def press(self, event, refuses):
        self.carry_out(self.session.on(event, self.now_s), refuses)

    @rule(passed_s=st.sampled_from([0.05, 1.0, 3.0, 20.0]), refuses=st.booleans())
    def wait(self, passed_s, refuses):
        self.now_s += passed_s
        self.carry_out(self.session.tick(self.now_s), refuses)

    @rule(refuses=st.booleans())
    def achieve(self, refuses):
        self.carry_out(self.session.achieved(self.now_s), refuses)

    @rule()
    def freeze(self):
        self.carry_out(self.session.abort("wrist: frozen", self.now_s))

    @precondition(lambda self: self.session.state not in (State.RECORDING, State.COUNTDOWN))
    @rule()
    def undo_twice(self):
        before = self.counts(), dict(self.store.outcomes)
        for _ in range(2):
            self.carry_out(self.session.on(Event.UNDO, self.now_s))
        assert (self.counts(), self.store.outcomes) == before

    def counts(self):
        return self.session.successes, self.session.failures, self.session.trashed

    @invariant()
    def counters_are_what_the_store_holds(self):
        assert self.session.successes == self.store.kept("success")
        assert self.session.failures == self.store.kept("failure")
        assert self.session.trashed == len(self.store.trash)

    @invariant()
    def an_episode_is_open_exactly_while_recording(self):
        assert self.store.is_open == (self.session.state is State.RECORDING)

    @invariant()
    def it_is_done_only_with_enough_successes(self):
        if self.session.state is State.DONE:
            assert self.session.successes >= self.cfg.episodes
        assert self.session.successes <= self.cfg.episodes or self.store.count > self.cfg.episodes

    @invariant()
    def the_status_can_be_shown(self):
        status = self.session.status(self.now_s)
        assert status["state"] in list(State)
        share = self.session.remaining_share(self.now_s)
        assert share is None or 0 <= share <= 1
        if self.session.state is not State.RECORDING:
            assert not status["intervening"]


TestSession = SessionMachine.TestCase
TestSession.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def at(session, *events, now_s=0.0):
    return [act.do for event in events for act in session.on(event, now_s)]


def settled(session, now_s):
    """What comes of an instant, change by change."""
    acts, state = [], None
    while state is not session.state:
        state = session.state
        acts += session.tick(now_s)
    return [act.do for act in acts]


def recording(**cfg):
    session = Session(SessionCfg(countdown_s=0.0, **cfg))
    session.on(Event.START, 0.0)
    assert settled(session, 0.0) == [Do.BEGIN]
    return session


def test_the_way_of_one_episode():
    session = Session(SessionCfg(episodes=1, countdown_s=2.0, reset_s=3.0))
    assert session.tick(0.0) == [] and session.state is State.IDLE
    session.on(Event.START, 1.0)
    assert session.state is State.COUNTDOWN and session.remaining_s(2.0) == 1.0
    assert session.tick(2.9) == [] and [a.do for a in session.tick(3.0)] == [Do.BEGIN]
    assert session.on(Event.SUCCESS, 5.0) == [Act(do=Do.SEAL, outcome="success")]
    assert session.state is State.RESET and session.remaining_share(6.5) == 0.5
    assert settled(session, 8.1) == [] and session.state is State.DONE


def test_time_out_is_a_failure_that_did_not_terminate_and_may_be_relabelled():
    session = recording(timeout_s=5.0)
    (seal,) = session.tick(5.0)
    assert seal == Act(do=Do.SEAL, outcome="failure", source="timeout", terminated=False)
    assert session.on(Event.SUCCESS, 5.5) == [Act(do=Do.LABEL, outcome="success")]
    assert (session.successes, session.failures) == (1, 0)
    assert session.on(Event.UNDO, 5.6) == [Act(do=Do.LABEL, outcome="failure")]


def test_re_recording_trashes_and_takes_the_same_index_again_by_itself():
    session = recording()
    assert at(session, Event.RERECORD) == [Do.DISCARD]
    assert session.repeats and session.index == 0
    assert settled(session, 10.0) == [Do.BEGIN], "nobody had to press start"
    assert at(session, Event.SUCCESS, now_s=11.0) == [Do.SEAL] and session.index == 1
    assert at(session, Event.RERECORD, now_s=11.5) == [Do.DELETE] and session.index == 0


def test_discarding_goes_on_to_another_start():
    session = recording()
    assert at(session, Event.DISCARD) == [Do.DISCARD]
    assert not session.repeats and settled(session, 10.0) == []
    assert session.state is State.IDLE


def test_a_countdown_can_be_called_off():
    session = Session()
    session.on(Event.START, 0.0)
    session.on(Event.DISCARD, 0.1)
    assert session.state is State.IDLE and session.tick(9.0) == []


def test_a_refused_episode_says_why_and_is_repeated():
    session = recording()
    session.on(Event.SUCCESS, 1.0)
    session.refused("refused: wrist: 3.0 Hz, but must be at least 16.0 Hz.")
    assert (session.successes, session.trashed, session.repeats) == (0, 1, True)
    assert "3.0 Hz" in session.status(1.0)["reason"]
    assert session.on(Event.UNDO, 1.5) == [Act(do=Do.RESTORE, outcome="success")]


def test_starting_by_itself_gives_up_after_episodes_in_vain():
    session = Session(SessionCfg(countdown_s=0, reset_s=0, auto_start=True, auto_tries=3))
    begun = 0
    for k in range(20):
        begun += len(settled(session, float(k)))
        session.abort("wrist: frozen", float(k))
    assert begun == 3 and session.state is State.DONE
    assert session.reason == "3 episodes in a row without a success: wrist: frozen"


def test_quitting_trashes_what_is_open():
    session = recording()
    assert at(session, Event.QUIT) == [Do.DISCARD] and session.state is State.DONE


def test_an_empty_episode_leaves_nothing_to_undo():
    session = recording()
    at(session, Event.DISCARD)
    session.was_empty()
    assert session.trashed == 0 and at(session, Event.UNDO) == []
    assert session.reason == "nothing to undo"


def test_intervening_toggles_while_recording_only():
    session = Session(SessionCfg(countdown_s=0.0))
    session.on(Event.INTERVENE, 0.0)
    assert not session.is_intervening
    session = recording()
    session.on(Event.INTERVENE, 0.0)
    assert session.is_intervening
    session.on(Event.SUCCESS, 1.0)
    assert not session.is_intervening


def test_times_and_counts_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="episodes is 0"):
        SessionCfg(episodes=0)
    with pytest.raises(ConfigError, match="countdown_s -1"):
        SessionCfg(countdown_s=-1)
