"""Message objects to named parts, and actions to messages, without ROS.

Messages are read by attribute access alone, so that live topics and bags take the same way: numbers
may be an `array.array`, bytes, a numpy array, a list or a tuple. They are written through `make`,
which gives an empty message of a type by its name; `planet_ros.ros.types.make` is rclpy's.

Whatever a message holds, reading it gives a value or a `UserError` with a short text, and sizes are
compared before anything is converted.
"""
