"""Starting, watching and ending nodes: for the demo, the benchmarks and the tests.

`processes` starts nodes and ends them, and needs no ROS in this process; `supervisor` drives and
watches them as a node of this process; `parameters` is what they are started with; `evaluation`
lets them run whole episodes.
"""
