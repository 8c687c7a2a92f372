"""Monitoring: queues, workers, statistics, snapshot, thresholds, health, canary, Prometheus metrics."""
