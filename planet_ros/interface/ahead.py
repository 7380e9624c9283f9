"""What lies ahead, as messages for people who watch: a plan, and what is expected to be measured.

```
time      stamp        stamp + d·p     stamp + (d+1)·p
plan      is made      row 0 acts      row 1 acts           d periods p of delay
expected               stamp + p       stamp + 2·p …        row k is measured at stamp + (k+1)·p
```

A matrix is a ``std_msgs/Float64MultiArray`` with two dimensions, steps and what they consist of::

    step stamp=1.250000000 first=1.300000000 period=0.050000000
    action ["torque [N m]"]

``first`` is the time of the first row, and what follows the name of the second dimension is JSON.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Signature
from planet_ros.interface.document import Interface
from planet_ros.interface.encodings import decoded, decoded_names
from planet_ros.interface.reading import PartReader
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import Make, time_message
from planet_ros.messages.vectors import VECTOR_TYPE, dimension, stamp_text

TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"

_QUANTITIES = {
    "position": "positions",
    "positions": "positions",
    "velocity": "velocities",
    "velocities": "velocities",
    "accelerations": "accelerations",
    "effort": "effort",
}
"""What a message calls the numbers of joints: what a point of a trajectory calls them."""


class PlanWriter:
    """Makes messages of plans: trajectories where all actions are of joints, else matrices.

    Attributes:
        type: Of the messages.
    """

    def __init__(self, interface: Interface, signature: Signature, make: Make) -> None:
        """Find out whether the actions are of joints.

        Args:
            interface: Of the robot.
            signature: Of the robot, which has names for what is done.
            make: Gives empty messages.
        """
        self._make = make
        self._period_ns = round(signature.period_s * 1e9)
        self._delay_ns = signature.delay_periods * self._period_ns
        self._names = [_with_unit(part.name, part.unit) for part in signature.action]
        self._joints = _joints(ActionWriter(interface.action, make))
        self.type = TRAJECTORY_TYPE if self._joints else VECTOR_TYPE

    def message(self, actions: NDArray[np.floating], stamp_ns: int) -> Any:
        """The message of a plan.

        Args:
            actions: (H, A), the first one sent next.
            stamp_ns: Of the observation that it was made from.
        """
        if not self._joints:
            first_ns = stamp_ns + self._delay_ns
            return matrix_message(
                self._make, "action", self._names, actions, stamp_ns, first_ns, self._period_ns
            )
        message = self._make(TRAJECTORY_TYPE)
        message.header.stamp = time_message(self._make, stamp_ns)
        message.joint_names = list(next(iter(self._joints.values())))
        rows = actions.tolist()
        for step, row in enumerate(rows):
            point = self._make("trajectory_msgs/msg/JointTrajectoryPoint")
            for quantity, indices in self._joints.items():
                setattr(point, quantity, array("d", [row[index] for index in indices.values()]))
            seconds, nanoseconds = divmod(self._delay_ns + step * self._period_ns, 10**9)
            point.time_from_start.sec, point.time_from_start.nanosec = seconds, nanoseconds
            message.points.append(point)
        return message


class ExpectationWriter:
    """Makes messages of what is expected to be measured: angles in radians, all else as it is seen.

    Attributes:
        names: What each column is called, with its unit.
    """

    def __init__(self, interface: Interface, signature: Signature, make: Make) -> None:
        """Find out what the numbers of a model's vectors are.

        Args:
            interface: Of the robot, which says how they are encoded.
            signature: Of the model, which has their order and names.
            make: Gives empty messages.
        """
        self._make = make
        self._period_ns = round(signature.period_s * 1e9)
        self.names: list[str] = []
        self._columns: list[tuple[str, slice]] = []
        sources = {part.name: part for part in interface.observation}
        at = 0
        for part in signature.parts("vector"):
            sizes = PartReader(sources[part.name], make).encoded_sizes
            within = 0
            for field in sources[part.name].fields:
                size = sizes[field.label]
                labels = [part.label(index) for index in range(within, within + size)]
                found = decoded_names(field.encoding, labels)
                # Cosines have no unit, which the names of others bear already.
                unit = "rad" if len(found) < size else ""
                self.names += [_with_unit(name, unit) for name in found]
                self._columns.append((field.encoding, slice(at + within, at + within + size)))
                within += size
            at += within

    def message(self, vectors: NDArray[np.floating], stamp_ns: int) -> Any:
        """The message of vectors (H, O), expected one period after `stamp_ns` and later."""
        values = np.concatenate(
            [decoded(encoding, vectors[:, columns]) for encoding, columns in self._columns], axis=1
        )
        first_ns = stamp_ns + self._period_ns
        return matrix_message(
            self._make, "field", self.names, values, stamp_ns, first_ns, self._period_ns
        )


def matrix_message(
    make: Make,
    what: str,
    names: Sequence[str],
    values: NDArray[np.floating],
    stamp_ns: int,
    first_ns: int,
    period_ns: int,
) -> Any:
    """A labelled matrix of rows in time.

    Args:
        make: Gives empty messages.
        what: The columns are.
        names: Of the columns.
        values: (H, len(names)).
        stamp_ns: When the rows were worked out.
        first_ns: Time of the first row.
        period_ns: From one row to the next.
    """
    message = make(VECTOR_TYPE)
    times = {"stamp": stamp_ns, "first": first_ns, "period": period_ns}
    rows = " ".join(["step", *(f"{key}={stamp_text(value)}" for key, value in times.items())])
    columns = f"{what} {json.dumps(list(names), ensure_ascii=False)}"
    message.layout.dim = [
        dimension(make, rows, len(values), values.size),
        dimension(make, columns, len(names), len(names)),
    ]
    message.data = array("d", values.ravel().tolist())
    return message


def _joints(writer: ActionWriter) -> dict[str, dict[str, int]] | None:
    """Indices into the action by joint, by what they are of it; None where not all are of joints.

    A trajectory gives all of its joints the same quantities.
    """
    found: dict[str, dict[str, int]] = {}
    for path, indices in writer.places:
        quantity = _QUANTITIES.get(path.parts[-1].name)
        if quantity is None or not path.names:
            return None
        joints = found.setdefault(quantity, {})
        for name, index in zip(path.names, indices, strict=True):
            if joints.setdefault(name, index) != index:
                return None
    first, *others = found.values()
    if any(set(joints) != set(first) for joints in others):
        return None
    return {quantity: {name: joints[name] for name in first} for quantity, joints in found.items()}


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
