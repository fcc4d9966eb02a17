"""Scenes for tests, made by Blender itself: `python blend_scene.py KIND FILE`, by its environment.

`--open FILE` opens one with its scripts on, as a careless program would.
"""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(__file__).parents[2] / ".venv-blender"
ESCAPED = "escaped.txt"
"""What a scene's Python writes to the working folder, if it ever runs."""
WRITE = f"__import__('pathlib').Path({ESCAPED!r}).write_text('x')"


def run_blender(*arguments: str, folder: Path) -> None:
    """Run this file by Blender's Python."""
    program = [str(ENVIRONMENT / "bin" / "python"), __file__, *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def make_scene(kind: str, folder: Path) -> Path:
    """Return the file of a new scene."""
    path = folder / f"{kind}.blend"
    run_blender(kind, str(path), folder=folder)
    return path


def build(bpy: Any, kind: str) -> None:
    bpy.ops.wm.read_factory_settings()
    cube = bpy.data.objects["Cube"]
    for frame, place in ((1, 0.0), (2, 1.5)):
        cube.location.x = place
        cube.keyframe_insert("location", frame=frame)
    if kind == "hostile":
        driver = cube.driver_add("scale", 0).driver
        driver.expression = f"{WRITE} or 1"
        text = bpy.data.texts.new("register.py")
        text.write(f"{WRITE}\nimport bpy\nbpy.app.handlers.load_post.append(lambda *_: {WRITE})")
        text.use_module = True
    elif kind == "outside":
        material = cube.active_material
        image = bpy.data.images.new("wood", 4, 4)
        image.source, image.filepath = "FILE", "//wood.png"
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image = image
    elif kind == "blind":
        bpy.data.objects.remove(bpy.data.objects["Camera"])
    elif kind == "programmed":
        bpy.context.scene.render.engine = "CYCLES"
        bpy.context.scene.cycles.shading_system = True
    elif kind == "drawn":
        scene = bpy.context.scene
        scene.render.use_freestyle = True
        lines = scene.view_layers[0].freestyle_settings
        lines.mode = "SCRIPT"
        style = bpy.data.texts.new("style.py")
        style.write(WRITE)
        lines.modules.new().script = style
    elif kind == "animated":
        cycles = bpy.context.scene.cycles
        for frame, cycles.samples in ((1, 4), (2, 4_000)):
            cycles.keyframe_insert("samples", frame=frame)


def main() -> None:
    bpy = importlib.import_module("bpy")
    kind, path = sys.argv[1:]
    if kind == "--open":
        bpy.context.preferences.filepaths.use_scripts_auto_execute = True
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=True)
        bpy.context.scene.frame_set(2)
    else:
        build(bpy, kind)
        bpy.ops.wm.save_as_mainfile(filepath=path)


if __name__ == "__main__":
    main()
