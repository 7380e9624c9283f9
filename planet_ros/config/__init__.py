"""Every setting of the project: typed, bounded and documented in one schema.

The YAML files in ``config/``, the ROS parameters of the nodes, the flags of ``planet-ros`` and
``docs/configuration.md`` all come from the classes in ``sections.py`` and ``learning.py``. A dotted
name such as ``planner.horizon`` is the same setting everywhere. ``programs.py`` says which program
reads which of them, ``schema.py`` lists and checks them, ``files.py`` reads and writes them.
"""

try:
    from pydantic import model_validator  # noqa: F401
except ImportError as error:
    # Ubuntu 24.04's own python3-pydantic is 1.10, which lacks this name.
    raise ImportError(
        "planet_ros needs pydantic 2 or newer, in a virtual environment with system packages: "
        "pip install 'pydantic>=2'"
    ) from error

from .files import ROS_OWN_PARAMETERS, find_config, load_settings, save_settings
from .learning import (
    CollectionSettings,
    DataSettings,
    ExplorationSettings,
    OfflineSettings,
    RssmSettings,
    TrainingSettings,
    WorldModelSettings,
)
from .programs import (
    NODES,
    BridgeNodeSettings,
    ControllerNodeSettings,
    LearnerSettings,
    RobotNodeSettings,
    Settings,
    TrainerNodeSettings,
)
from .reference import reference_markdown
from .schema import (
    AnySection,
    Setting,
    closest,
    flatten,
    foreign,
    foreign_text,
    narrowed,
    nest,
    schema,
    settings_from,
    type_name,
    users,
)
from .sections import (
    BridgeSettings,
    BundleSettings,
    ControllerSettings,
    EnvironmentSettings,
    PacingSettings,
    PlannerSettings,
    RobotSettings,
    Section,
    SeedSettings,
)

__all__ = [
    "NODES",
    "ROS_OWN_PARAMETERS",
    "AnySection",
    "BridgeNodeSettings",
    "BridgeSettings",
    "BundleSettings",
    "CollectionSettings",
    "ControllerNodeSettings",
    "ControllerSettings",
    "DataSettings",
    "EnvironmentSettings",
    "ExplorationSettings",
    "LearnerSettings",
    "OfflineSettings",
    "PacingSettings",
    "PlannerSettings",
    "RobotNodeSettings",
    "RobotSettings",
    "RssmSettings",
    "Section",
    "SeedSettings",
    "Setting",
    "Settings",
    "TrainerNodeSettings",
    "TrainingSettings",
    "WorldModelSettings",
    "closest",
    "find_config",
    "flatten",
    "foreign",
    "foreign_text",
    "load_settings",
    "narrowed",
    "nest",
    "reference_markdown",
    "save_settings",
    "schema",
    "settings_from",
    "type_name",
    "users",
]
