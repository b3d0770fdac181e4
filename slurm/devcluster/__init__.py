"""A throwaway SLURM cluster on this machine: real daemons, real scheduling, nodes with fake GPUs.

    with DevCluster(Path("/run/mine")) as cluster:      # or up() and down()
        cluster.up(nodes=4, gpus=2)
        cluster.run("sbatch", "--wrap", "hostname")
        cluster.node(2).kill()                          # a power failure

For trying out `retain` without a cluster at hand, and for `tests/cluster`.  It needs root and Debian's SLURM packages,
no systemd and no container engine.  Its daemons talk over 127.0.0.x and serve only who has the cluster's own key.
`command` is `retain devcluster`.
"""

from slurm.devcluster.cluster import DEFAULT_ROOT, DevCluster
from slurm.devcluster.daemons import DevClusterError

__all__ = ["DEFAULT_ROOT", "DevCluster", "DevClusterError"]
