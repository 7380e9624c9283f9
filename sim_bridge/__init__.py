"""Any Gymnasium environment behind ROS topics."""
