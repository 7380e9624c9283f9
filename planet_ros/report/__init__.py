"""Pictures of a run: learning curves, episodes, dreams. It reads what a run or a bundle holds."""
