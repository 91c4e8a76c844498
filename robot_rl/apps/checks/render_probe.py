"""Render with MuJoCo in this process and print the figures as JSON; the doctor runs it as a child.

A GL context is bound to a process and its `MUJOCO_GL`, and a bad driver takes the process down:
hence a child for each backend.
"""

import json
import time

__all__ = ["main"]

SCENE = """
<mujoco>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="84" offheight="84"/>
  </visual>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="1 1 .1" rgba=".4 .5 .4 1"/>
    <geom type="capsule" fromto="0 0 0 0 0 .6" size=".06" rgba=".9 .9 .9 1"/>
    <geom type="capsule" fromto="0 0 .6 .4 0 .6" size=".05" rgba=".9 .6 .3 1"/>
    <geom type="box" pos=".4 0 .02" size=".02 .02 .02" rgba=".8 .2 .2 1"/>
  </worldbody>
</mujoco>
"""
FRAMES = 100


def main() -> None:
    """Render an arm-like scene at 84 x 84 and print frames a second, backend and GL device."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, 84, 84)
    renderer.update_scene(data)
    image = renderer.render()
    device = GL.glGetString(GL.GL_RENDERER)
    start_s = time.perf_counter()
    for _ in range(FRAMES):
        renderer.update_scene(data)
        renderer.render()
    fps = FRAMES / (time.perf_counter() - start_s)
    renderer.close()
    print(
        json.dumps(
            {
                "fps": round(fps),
                "device": device.decode() if device else "unknown",
                "contrast": int(image.max()) - int(image.min()),
            }
        )
    )


if __name__ == "__main__":
    main()
