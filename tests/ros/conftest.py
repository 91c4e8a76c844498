"""The ROS graph as a fixture; without rclpy every test of this folder is skipped."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ros_graph import Graph


@pytest.fixture
def ros_graph(tmp_path: Path) -> Iterator[Graph]:
    """An empty graph; nodes and children that the test adds are stopped after it."""
    pytest.importorskip("rclpy")
    graph = Graph(tmp_path)
    try:
        yield graph
    finally:
        graph.close()
