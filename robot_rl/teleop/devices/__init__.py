"""What a person holds: keyboard, gamepad, SpaceMouse, leader arm; and a script in their place."""
