"""What is learnt when, and how much it counts: steps that write `stage`, `order` and `weight`."""
