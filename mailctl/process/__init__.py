"""What a process needs within itself: values of its own, calls with a deadline, and a clock."""
