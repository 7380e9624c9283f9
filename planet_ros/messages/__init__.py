"""Message objects to named parts, and actions to messages, by attribute access; no rclpy."""
