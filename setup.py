"""Package planet_ros: the one place that lists its dependencies and their bounds."""

import sys
from glob import glob
from pathlib import Path

import setuptools
from setuptools import find_packages, setup

NAME = "planet_ros"

# The robot's half: the controller needs these and ROS 2, and no torch.
ROBOT = [
    "numpy>=1.26",
    # 1.19 is the first that runs with NumPy 1 (Ubuntu 24.04) and with NumPy 2.
    "onnxruntime>=1.19",
    "pillow>=10",
    "pydantic>=2.6,<3",
]

# Bags, read and written without ROS.
BAGS = [
    "rosbags>=0.11.3,<0.12",
    "tqdm>=4.66",
    "PyYAML>=6.0",
]

# Data sets of Minari, read and written by its own library, which takes Gymnasium along.
MINARI = ["minari[hdf5]>=0.5.3,<0.6"]

# LeRobotDatasets: the format alone, as lerobot itself wants another torch.
LEROBOT = [
    "av>=14",
    "pyarrow>=17",
]

# The learner's half.
TRAIN = [
    *BAGS,
    # Pinned exactly: the exporter from torch to ONNX changes from release to release, and an
    # exported graph has to give the same numbers as the model that it was made from.
    "torch==2.13.0",
    "gymnasium[classic-control,mujoco]>=1.1,<2",
    "onnx>=1.17",
    # onnx brings it, and 0.6 would bring NumPy 2: Ubuntu 24.04's own NumPy 1.26 stays.
    "ml_dtypes>=0.5,<0.6",
    "matplotlib>=3.8",
]

# The tasks of PlaNet's paper, config/cartpole_swingup.yaml and others. Newer MuJoCo than 3 has not
# the fields that dm_control reads.
DM_CONTROL = [
    "shimmy[dm-control]>=2,<3",
    "mujoco>=3.1,<4",
]

# Logs for TensorBoard (training.tensorboard).
TENSORBOARD = ["tensorboard>=2.15,<3"]

# ROS 2 Jazzy from wheels (Linux, x86-64), for a machine without ROS. Where ROS is installed, the
# packages that package.xml names take their place. Together they are one release: move them as one.
ROS = [
    "ros-rclpy==7.1.6",
    "ros-rmw-fastrtps-cpp==8.4.3",
    "ros-builtin-interfaces==2.0.3",
    "ros-diagnostic-msgs==5.3.6",
    "ros-geometry-msgs==5.3.6",
    "ros-lifecycle-msgs==2.0.3",
    "ros-nav-msgs==5.3.6",
    "ros-rcl-interfaces==2.0.3",
    "ros-rosgraph-msgs==2.0.3",
    "ros-sensor-msgs==5.3.6",
    "ros-std-msgs==5.3.6",
    "ros-std-srvs==5.3.6",
    "ros-trajectory-msgs==5.3.6",
]

# As Ubuntu 24.04 has them, which `colcon test` takes there.
TEST = [
    "pytest>=7.4",
    "pytest-timeout>=2.2",
    "hypothesis>=6.98",
    "scipy>=1.11",
]

DEV = [
    *TEST,
    *TENSORBOARD,
    *MINARI,
    *LEROBOT,
    # Pinned exactly: a new release of either finds new faults in old code.
    "ruff==0.17.6",
    "mypy==2.4.1",
    "types-PyYAML>=6.0.12",
    "catkin_pkg>=1.0",
    "colcon-common-extensions>=0.3",
    # From 80 on, `colcon build --symlink-install` copies instead, without a word.
    "setuptools>=64,<80",
]

if Path(sys.argv[0]).name == "setup.py" and int(setuptools.__version__.split(".")[0]) >= 80:
    # Run by colcon, which shows this; pip has the setuptools that pyproject.toml asks for.
    print(
        f"setuptools {setuptools.__version__}: colcon build --symlink-install copies instead; for "
        "links: pip install 'setuptools<80'",
        file=sys.stderr,
    )

setup(
    name=NAME,
    version="0.1.0",
    description="Learn a world model of a robot, and control the robot by planning in it.",
    author="The planet_ros developers",
    author_email="maintainers@planet-ros.example.org",
    maintainer="The planet_ros developers",
    maintainer_email="maintainers@planet-ros.example.org",
    license="Apache-2.0",
    keywords=["ROS", "model-based reinforcement learning", "model predictive control"],
    packages=find_packages(include=[NAME, f"{NAME}.*", "sim_bridge", "sim_bridge.*"]),
    package_data={NAME: ["py.typed", "ros/fastdds.xml"], "sim_bridge": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*.yaml"))),
        (f"share/{NAME}/config/interfaces", sorted(glob("config/interfaces/*.yaml"))),
        (f"share/{NAME}/config/foxglove", sorted(glob("config/foxglove/*.json"))),
        (f"share/{NAME}/config/sros2", sorted(glob("config/sros2/*.xml"))),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=ROBOT,
    extras_require={
        "bags": BAGS,
        "minari": MINARI,
        "lerobot": LEROBOT,
        "train": TRAIN,
        "dm_control": DM_CONTROL,
        "tensorboard": TENSORBOARD,
        "ros": ROS,
        "test": TEST,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "planet-ros = planet_ros.cli.main:main",
            "controller = planet_ros.ros.controller_node:main",
            "trainer = planet_ros.ros.trainer_node:main",
            "gym_bridge = sim_bridge.gym_bridge:main",
            "robot = sim_bridge.robot_node:main",
        ],
    },
)
