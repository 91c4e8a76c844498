"""A device beside the keyboard: one hand moves, the other tells the recorder what became of it.

command:   **person → device** → mapping → decode → safety → send
"""

from dataclasses import replace

from robot_rl.teleop.devices.device import Device, Sample

__all__ = ["WithKeys"]


class WithKeys:
    """Motion, gripper and clutch of one device; events of that and of a keyboard."""

    def __init__(self, device: Device, keyboard: Device) -> None:
        """Read both at each read."""
        self._device, self._keyboard = device, keyboard
        self.name = device.name

    def open(self) -> None:
        """See `Device.open`."""
        self._device.open()
        self._keyboard.open()

    def read(self) -> Sample:
        """See `Device.read`."""
        keys = self._keyboard.read()
        sample = self._device.read()
        return replace(sample, events=(*sample.events, *keys.events))

    def close(self) -> None:
        """See `Device.close`."""
        self._keyboard.close()
        self._device.close()
