"""Each launch file starts what it says, with programs, files and parameters that exist."""

import ast

import pytest
import yaml
from launch_double import LAUNCH, PACKAGES, Described, describe
from node_parameters import executables, node_name, parameters_of

from robot_rl.cameras.cfg import load_cameras
from robot_rl.control.robot_file import load_robot
from robot_rl.env.task_file import load_task
from sim.tasks import make_twin

FILES = sorted(LAUNCH.glob("*.launch.py"))
ROBOTS = sorted((PACKAGES / "robot_rl_bringup/config/robots").glob("*.yaml"))
EVERYWHERE = {"robot", "namespace", "config", "use_sim_time", "log_level"}
OF_ROS = {"use_sim_time"}
REQUIRED = {
    "real": {"robot": "fr3"},
    "teleop_record": {"dataset": "data/a.zarr"},
    "train_residual": {"demos": "data/a.zarr", "run": "runs/a"},
    "evaluate": {"policy": "runs/a"},
}
EXPECTED = {
    "twin", "real", "robot", "cameras", "teleop_record", "train_residual", "evaluate", "calibrate"
}  # fmt: skip


def name_of(path):
    return path.name.removesuffix(".launch.py")


def told(name: str, **arguments: str) -> Described:
    return describe(LAUNCH / f"{name}.launch.py", **REQUIRED.get(name, {}) | arguments)


def variants():
    """Every launch file, with the twin and with a real arm where it takes either."""
    for path in FILES:
        yield name_of(path), {}
        if "twin" in told(name_of(path)).declared:
            yield name_of(path), {"robot": "fr3"}
            yield name_of(path), {"robot": "fr3", "cameras": "/site/cameras.yaml"}


VARIANTS = list(variants())


def test_every_launch_file_is_there():
    assert {name_of(path) for path in FILES} == EXPECTED


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_launch_file_is_one_returned_list_of_at_most_120_lines(path):
    source = path.read_text()
    assert source.count("\n") <= 120
    (function,) = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    statements = [type(node) for node in function.body]
    assert function.name == "generate_launch_description"
    assert statements == [ast.Expr, ast.Return], "a docstring and the list, no logic"
    logic = (ast.If, ast.IfExp, ast.For, ast.While, ast.ListComp, ast.Lambda, ast.With, ast.Try)
    assert not [node for node in ast.walk(function) if isinstance(node, logic)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_argument_is_described_and_the_common_ones_are_there(path):
    declared = told(name_of(path)).declared
    assert declared.keys() >= EVERYWHERE
    for name, said in declared.items():
        assert said["description"].endswith("."), name


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_every_program_exists_and_takes_what_it_is_given(name, arguments):
    for program in told(name, **arguments).programs:
        if "/" not in program.name:
            assert program.name == "robot-rl"
            continue
        assert executables()[program.name].exists()
        assert program.parameters.keys() <= parameters_of(program.name).keys() | OF_ROS
        assert program.namespace == "robot"


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_every_default_file_exists(name, arguments):
    described = told(name, **arguments)
    files = [file for program in described.programs for file in program.files]
    files += described.included
    files += [
        value
        for argument, value in described.arguments.items()
        if value.endswith((".yaml", ".py")) and argument not in arguments
    ]
    missing = [file for file in map(str, files) if not (PACKAGES / file).exists()]
    assert missing == []


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda path: path.stem)
def test_every_robot_has_a_file_that_the_bridge_gets(robot):
    program = told("real", robot=robot.stem).program("robot_rl_control/arm_bridge")
    assert program.parameters["robot"] == str(robot)


def test_a_robot_file_elsewhere_is_given_by_its_path():
    program = told("real", robot="/site/arm").program("robot_rl_control/arm_bridge")
    assert program.parameters["robot"] == "/site/arm.yaml"


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_images_get_a_transport_that_holds_them(name, arguments):
    profile = str(PACKAGES / "robot_rl_bringup/config/fastdds.xml")
    environment = told(name, **arguments).environment
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == profile
    assert environment["FASTDDS_DEFAULT_PROFILES_FILE"] == profile


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_nothing_goes_on_when_a_part_of_the_graph_has_died(name, arguments):
    programs = told(name, **arguments).programs
    assert [program.name for program in programs if not program.ends_all] == []


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_exactly_one_bridge_commands_the_arm(name, arguments):
    names = told(name, **arguments).names
    assert names.count("robot_rl_control/arm_bridge") == int(name != "cameras")
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_every_node_gets_the_log_level_and_the_further_parameters(name, arguments):
    described = told(name, **arguments, log_level="debug", config="/site/nodes.yaml")
    for program in described.programs:
        if "/" in program.name:
            assert program.words == ["--log-level", "debug"]
            assert [str(file) for file in program.files] == ["/site/nodes.yaml"]


def test_further_parameters_are_the_nodes_own_with_their_defaults():
    path = PACKAGES / "robot_rl_bringup/config/nodes.yaml"
    executable_of = {node_name(name): name for name in executables()}
    for where, section in yaml.safe_load(path.read_text()).items():
        declared = parameters_of(executable_of[where.removeprefix("/**/")])
        for name, value in section["ros__parameters"].items():
            assert declared[name] == value


@pytest.mark.parametrize(("folder", "load"), [("tasks", load_task), ("cameras", load_cameras)])
def test_the_examples_of_bringup_can_be_read(folder, load):
    files = sorted((PACKAGES / "robot_rl_bringup/config" / folder).glob("*.yaml"))
    assert files
    for file in files:
        assert load(file)


def test_a_real_arm_does_not_move_before_somebody_activates_its_bridge():
    for name in ("real", "teleop_record", "train_residual", "evaluate", "calibrate"):
        bridge = told(name, robot="fr3").program("robot_rl_control/arm_bridge")
        assert bridge.parameters["autostart"] == "false"
    assert told("twin").program("robot_rl_control/arm_bridge").parameters["autostart"] == "True"


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda path: path.stem)
def test_the_twin_takes_the_place_of_driver_and_cameras(robot):
    described = told("calibrate", robot=robot.stem)
    has_twin = "robot_rl_sim/twin_node" in described.names
    assert has_twin == robot.stem.startswith("twin")


def test_the_twin_that_is_launched_by_default_is_the_robot_of_the_robot_file():
    described = told("twin")
    spec = load_robot(described.program("robot_rl_control/arm_bridge").parameters["robot"]).spec
    scene = described.program("robot_rl_sim/twin_node").parameters["task"]
    twin = make_twin(scene).robot
    assert [arm.joint_names for arm in spec.arms] == [arm.joint_names for arm in twin.arms]
    assert [arm.gripper for arm in spec.arms] == [arm.gripper for arm in twin.arms]


def test_the_driver_of_a_site_is_started_with_arm_and_cameras(tmp_path):
    driver = tmp_path / "driver.launch.py"
    driver.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import ExecuteProcess\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([ExecuteProcess(cmd=['driver'], output='screen')])\n"
    )
    described = told("teleop_record", robot="fr3", driver=str(driver), cameras="/site/c.yaml")
    assert described.names[:3] == [
        "robot_rl_camera/camera_node",
        "driver",
        "robot_rl_control/arm_bridge",
    ]
