"""Placeholders for what only the job can know, usable in arguments and environment."""

from __future__ import annotations


class ExecutorMacros:
    """Names that a backend replaces by its own shell variables or values.

    Example:
        >>> import runyard as run
        >>> task = run.Script("serve.sh", args=["--host", run.ExecutorMacros.HEAD_NODE_IP_VAR])
    """

    HEAD_NODE_IP_VAR = "${head_node_ip_var}"
    """Address of the first node."""
    NPROC_PER_NODE_VAR = "${nproc_per_node_var}"
    """Processes per node."""
    NUM_NODES_VAR = "${num_nodes_var}"
    """Number of nodes."""
    NODE_RANK_VAR = "${node_rank_var}"
    """Rank of the node the process runs on, from 0."""
    HET_GROUP_HOST_VAR = "${het_group_host_var}"

    @staticmethod
    def group_host(index: int) -> str:
        """Return the placeholder for the first host of member ``index`` of a task group."""
        return f"${{het_group_host_var_{index}}}"
