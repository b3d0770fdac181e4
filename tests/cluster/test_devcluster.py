"""The throwaway cluster does to jobs what a real one does."""

from __future__ import annotations

from tests.cluster.jobs import final_state, sbatch


def test_a_job_runs_on_a_node_and_sees_its_gpus(cluster, tmp_path):
    out = tmp_path / "out"
    job = sbatch(cluster, "echo $(hostname) $CUDA_VISIBLE_DEVICES", f"--output={out}", "--gpus-per-node=2", "-wnode3")
    assert final_state(cluster, job) == "COMPLETED"
    assert out.read_text() == "node3 0,1\n"
