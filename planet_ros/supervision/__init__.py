"""Starting and watching nodes, for the demo, the benchmarks and the tests."""
