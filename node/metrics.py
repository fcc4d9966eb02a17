"""What the node counts, for Prometheus: chain, mempool, admission and HTTP."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _NetworkCollector(Collector):
    """The transport's own counters, read when they are asked for."""

    def __init__(self, get_counters: Callable[[], dict[str, dict[str, int]]]) -> None:
        self._get_counters = get_counters

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield a counter for each name, labelled by what was counted."""
        for name, values in sorted(self._get_counters().items()):
            family = CounterMetricFamily(
                f"aitbc_p2p_{name}", f"Of the network: {name.replace('_', ' ')}.", labels=["what"]
            )
            for label, amount in sorted(values.items()):
                family.add_metric([label], amount)
            yield family


class Metrics:
    """One registry per node, so that several nodes in a process keep apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.height = Gauge(
            "aitbc_chain_height", "Height of the last final block.", registry=self.registry
        )
        self.view = Gauge("aitbc_consensus_view", "View of the consensus.", registry=self.registry)
        self.block_time = Gauge(
            "aitbc_chain_block_time_seconds",
            "Header time of the last final block.",
            registry=self.registry,
        )
        self.blocks = Counter("aitbc_blocks", "Blocks made final.", registry=self.registry)
        self.transactions = Counter(
            "aitbc_transactions", "Transactions made final.", ["result"], registry=self.registry
        )
        self.rejections = Counter(
            "aitbc_rejections", "Transactions refused, by reason.", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "aitbc_mempool_transactions", "Transactions that wait.", registry=self.registry
        )
        self.waiting_bytes = Gauge(
            "aitbc_mempool_bytes", "Bytes of the transactions that wait.", registry=self.registry
        )
        self.build_seconds = Histogram(
            "aitbc_block_build_seconds", "Time to build or check a block.", ["what"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.commit_seconds = Histogram(
            "aitbc_block_commit_seconds", "Time to store a final block, fsync included.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.journal_seconds = Histogram(
            "aitbc_vote_journal_seconds", "Time to make one's own vote durable.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.sockets = Gauge(
            "aitbc_live_sockets", "Sockets that hear live updates.", registry=self.registry
        )
        self.peers = Gauge("aitbc_peers", "Peers with a session.", registry=self.registry)
        self.peer_drops = Counter(
            "aitbc_peer_drops", "What peers sent and was not taken, by reason.", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self.announcements = Counter(
            "aitbc_peer_announcements", "Announcements heard by gossip.", registry=self.registry
        )
        self.escrow = Gauge(
            "aitbc_escrow_base_units", "Money locked for live jobs.", registry=self.registry
        )
        self.jobs = Gauge(
            "aitbc_jobs", "Jobs by how they stand.", ["state"], registry=self.registry
        )

    def watch_network(self, get_counters: Callable[[], dict[str, dict[str, int]]]) -> None:
        """Show the transport's counters beside the node's."""
        self.registry.register(_NetworkCollector(get_counters))

    def render(self) -> bytes:
        """Return the text exposition."""
        return generate_latest(self.registry)
