"""Partitions by time: on PostgreSQL, the emails of some days and their events can be tables of their own.

The ids of emails begin with their day, so a partition is a range of ids, and an id is unique in all of them.
Each table of the log that grows has a partition for every few days, and three others: `low` and `high` for
ids below and above those of all days, and `other` for days without a partition. These have the emails whose
ids are other programs', such as Celery's.
"""
