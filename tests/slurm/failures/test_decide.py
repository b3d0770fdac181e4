"""Retry by cause: what helps is tried, a bounded number of times, and every decision quotes its evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slurm.failures.causes import Cause
from slurm.failures.decide import ExitRecord, Policy, decide

FREE_FOR_EVER = Cause.PREEMPTED
POLICY = Policy()


def ended(cause: Cause, *hosts: str, gained: int = 0) -> ExitRecord:
    return ExitRecord(cause=cause, evidence=f"a line about {cause}", hosts=hosts, steps_gained=gained)


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_decision_that_quotes_its_evidence(cause):
    assert f"a line about {cause}" in decide(ended(cause)).because


@pytest.mark.parametrize(
    "cause", [Cause.COMPLETED, Cause.CANCELLED, Cause.DIVERGED, Cause.BAD_DATA, Cause.DISK_FULL, Cause.CRASH]
)
def test_what_no_retry_helps_is_stopped_at_once(cause):
    assert decide(ended(cause, "n1", gained=7)).action == "stop"


def test_preempted_job_comes_back_for_free_for_ever():
    decision = decide(ended(Cause.PREEMPTED, "n1"), [ended(Cause.PREEMPTED, "n1")] * 100)
    assert decision.action == "requeue"
    assert decision.exclude_nodes == ()


def test_timeout_is_requeued_as_long_as_there_is_progress():
    earlier = [ended(Cause.TIMEOUT, gained=5)] * 20
    assert decide(ended(Cause.TIMEOUT, gained=1), earlier).action == "requeue"
    stopped = decide(ended(Cause.TIMEOUT), earlier)
    assert stopped.action == "stop"
    assert "cannot reach a checkpoint" in stopped.because


def test_memory_is_saved_step_by_step_and_stays_saved():
    oom = ended(Cause.OUT_OF_MEMORY, "n1")
    decisions = [decide(oom, [oom] * earlier) for earlier in range(4)]
    assert [decision.action for decision in decisions] == ["retry", "retry", "retry", "stop"]
    assert [decision.micro_batch_factor for decision in decisions[:3]] == [0.5, 0.25, 0.125]
    assert decisions[0].action != "requeue"
    # a later requeue must not fall back to the micro-batch that did not fit
    assert decide(ended(Cause.PREEMPTED), [oom]).micro_batch_factor == 0.5


def test_node_that_failed_is_left_out_from_then_on():
    failed = ended(Cause.NODE_FAILURE, "n3")
    decision = decide(failed)
    assert decision.action == "requeue"
    assert decision.exclude_nodes == ("n3",)
    assert "n3" in decision.because
    assert decide(ended(Cause.PREEMPTED, "n4"), [failed]).exclude_nodes == ("n3",)


def test_lost_ranks_accuse_only_nodes_that_were_there_twice():
    first = ended(Cause.COMMUNICATION, "n1", "n2")
    assert decide(first).exclude_nodes == ()
    assert decide(ended(Cause.COMMUNICATION, "n2", "n3"), [first]).exclude_nodes == ("n2",)
    assert decide(ended(Cause.COMMUNICATION, "n5", "n5")).exclude_nodes == ("n5",)  # two ranks of one node


def test_faults_of_the_cluster_are_bounded_in_a_row_and_progress_ends_the_row():
    fault, progress = ended(Cause.NODE_FAILURE, "n1"), ended(Cause.COMMUNICATION, gained=3)
    assert decide(fault, [fault, fault]).action == "requeue"
    assert decide(fault, [fault, fault, fault]).action == "stop"
    assert decide(fault, [fault, fault, progress]).action == "requeue"
    assert decide(fault, [fault, ended(Cause.PREEMPTED), fault, fault]).action == "stop"  # preemption does not


def test_unknown_end_is_tried_once_more():
    unknown = ended(Cause.UNKNOWN)
    assert decide(unknown).action == "retry"
    assert decide(unknown, [ended(Cause.PREEMPTED), unknown]).action == "stop"
    assert decide(unknown, [unknown, ended(Cause.PREEMPTED, gained=9)]).action == "retry"  # after progress, once more
    assert decide(ended(Cause.UNKNOWN, gained=9), [unknown]).action == "retry"


@pytest.mark.parametrize("cause", list(Cause))
def test_a_stop_is_a_failure_unless_a_person_or_the_work_itself_wanted_it(cause):
    decision = decide(ended(cause), [ended(cause)] * 9)
    assert decision.cause == cause
    assert decision.failed == (cause not in (Cause.COMPLETED, Cause.CANCELLED, Cause.PREEMPTED))


@given(st.lists(st.sampled_from([cause for cause in Cause if cause is not FREE_FOR_EVER]), min_size=20, max_size=20))
def test_any_row_of_failures_without_progress_ends_in_a_stop(causes):
    history: list[ExitRecord] = []
    for cause in causes:
        record = ended(cause, "n1")
        if decide(record, history, POLICY).action == "stop":
            break
        history.append(record)
    assert len(history) <= POLICY.cluster_faults + POLICY.halvings + POLICY.unknown


@given(
    st.lists(st.tuples(st.sampled_from(list(Cause)), st.integers(0, 2), st.sampled_from(["n1", "n2", "n3"]))),
    st.builds(Policy, cluster_faults=st.integers(0, 4), halvings=st.integers(0, 4), unknown=st.integers(0, 2)),
)
def test_decisions_hold_their_limits(ends, policy):
    records = [ended(cause, host, gained=gained) for cause, gained, host in ends] or [ended(Cause.UNKNOWN)]
    decision = decide(records[-1], records[:-1], policy)
    assert 0.5**policy.halvings <= decision.micro_batch_factor <= 1
    assert set(decision.exclude_nodes) <= {host for record in records for host in record.hosts}
    assert decision == decide(records[-1], records[:-1], policy)


def test_policy_of_zero_tries_nothing():
    nothing = Policy(cluster_faults=0, halvings=0, unknown=0)
    for cause in (Cause.NODE_FAILURE, Cause.COMMUNICATION, Cause.STORAGE, Cause.OUT_OF_MEMORY, Cause.UNKNOWN):
        assert decide(ended(cause), (), nothing).action == "stop"


def test_record_keeps_evidence_clean_and_survives_json():
    record = ExitRecord(cause=Cause.CRASH, evidence="ValueError:\n\x1b[31mHF_TOKEN=abc " + "x" * 900, hosts=("n1",))
    assert record.evidence.startswith("ValueError: HF_TOKEN=*** x")
    assert len(record.evidence) == 300
    assert ExitRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": ("n1; rm -rf /",)},
        {"hosts": ("",)},
        {"hosts": ("-x",)},
        {"steps_gained": -1},
        {"cause": "bored"},
        {"why": ""},
    ],
)
def test_wrong_records_are_refused(wrong):
    with pytest.raises(ValidationError):
        ExitRecord(**{"cause": Cause.CRASH, "evidence": "", **wrong})


def test_wrong_policies_are_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Policy(halvings=-1)
