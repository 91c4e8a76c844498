"""Any progress model from where it is kept: a folder of its own kind, or a server's address.

learning:  transition → episode store → **progress model** → replay → residual agent → weights
"""

from importlib import import_module
from pathlib import Path

from robot_rl.config import load_config
from robot_rl.errors import CheckpointError
from robot_rl.reward.progress import ProgressModel

__all__ = ["load_model"]


def load_model(where: str | Path) -> ProgressModel:
    """The model at `where`.

    Args:
        where: The folder in which a model was saved (embedded, written, a judge, a server's
            address), or the address itself: http://127.0.0.1:8077.

    Raises:
        CheckpointError: Nothing there is a progress model.
    """
    # What is not needed is not imported: judges bring torch, the embedded model too.
    if str(where).startswith(("http://", "https://")):
        remote = import_module("robot_rl.reward.remote")
        return remote.RemoteModel(remote.RemoteCfg(url=str(where)))
    folder = Path(where)
    if (folder / "remote.json").is_file():
        remote = import_module("robot_rl.reward.remote")
        return remote.RemoteModel(load_config(folder / "remote.json", remote.RemoteCfg))
    if (folder / "judge.json").is_file():
        return import_module("robot_rl.reward.vlm.saved").load_judge(folder)
    if (folder / "written.json").is_file():
        return import_module("robot_rl.reward.written.model").WrittenModel.load(folder)
    if (folder / "model.json").is_file():
        return import_module("robot_rl.reward.embedded").EmbeddedModel.load(folder)
    raise CheckpointError(
        f"{folder} holds no progress model. Give the folder that `robot-rl reward train` wrote, "
        "one with a judge.json, or the address of `robot-rl reward serve`."
    )
