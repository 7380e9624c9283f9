"""A lifecycle node whose transitions fail with a message instead of in silence."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from planet_ros.errors import UserError


def logged(callback: Callable[..., None]) -> Callable[..., TransitionCallbackReturn]:
    """Make a transition callback of a method: no exception is success.

    rclpy swallows exceptions of transition callbacks without a word. Bad input fails the
    transition, so that it can be tried again; anything else is an error.
    """

    @functools.wraps(callback)
    def wrapped(self: Any, state: Any) -> TransitionCallbackReturn:
        try:
            callback(self, state)
        except UserError as error:
            self.get_logger().error(f"{callback.__name__.removeprefix('on_')}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"{callback.__name__}:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    return wrapped


class RobustLifecycleNode(LifecycleNode):
    """A lifecycle node that outlives a request for a transition which its state does not have."""

    def _LifecycleNodeMixin__change_state(  # noqa: N802 (the name is rclpy's)
        self, transition_id: int
    ) -> TransitionCallbackReturn:
        """Refuse what rclpy before 8.0 dies of: an exception in the service's callback."""
        try:
            return super()._LifecycleNodeMixin__change_state(transition_id)  # type: ignore[misc]
        except Exception as error:
            state = self._state_machine.current_state[1]
            self.get_logger().error(f"transition {transition_id} refused in state {state}: {error}")
            return TransitionCallbackReturn.FAILURE
