"""How things stand: queues, workers, statistics, thresholds, health."""
