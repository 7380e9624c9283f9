"""Experience that was recorded: readers and writers of bags, one library inside each."""
