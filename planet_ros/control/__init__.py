"""Acting, without ROS: belief filter, planner, limits, watchdog and the tick that joins them."""
