"""Monitoring: queues, workers, statistics, snapshots, thresholds, health, canaries, Prometheus metrics."""
