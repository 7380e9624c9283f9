"""Experience that was recorded: readers and writers of bags, one library inside each."""

BAG_SUFFIXES = (".mcap", ".db3")
"""Of the files of a bag."""
