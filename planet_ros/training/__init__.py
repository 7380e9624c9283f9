"""Learning: collect experience, fit the model, evaluate what it is worth, write it down."""
