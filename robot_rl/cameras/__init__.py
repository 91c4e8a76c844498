"""Cameras of the workstation: grabbed in threads, honest about when each frame was taken.

command:   **camera**, arm → observe → policy (base + residual) → decode → safety → send
"""
