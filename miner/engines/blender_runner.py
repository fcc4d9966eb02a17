"""Blender's side of a render, in a sandbox, run by the Python of Blender's own environment.

`blender.py`, with nothing of ours to import: orders come as JSON on standard input; what happens is
told on standard output, a line of JSON for each step. Without a scene it says what Blender this is.

A scene is data and never gets to run Python: scripts, handlers and drivers are off, and lines drawn
by scripts, which Blender runs all the same, are refused. What a picture depends on is set here,
whatever the scene says, or refused: files outside the scene, shaders that are programs, settings
of the render that change from frame to frame.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

BACKENDS: Final = ("OPTIX", "CUDA")
CPU, CUDA = "cpu", "cuda"
WORDS: Final = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf")
"""Kinds of chunk of a PNG that are no part of the picture (PNG 3rd edition, 11.3)."""
FIXED: Final = ("render", "cycles", "view_layers")
"""Of a scene: what no animation may change."""
MAX_WORDS: Final = 300


class SceneRefused(Exception):
    """The scene cannot be rendered, by anybody."""


class DeviceMissing(Exception):
    """A GPU is asked for that Blender does not find here."""


def choose_device(bpy: Any, wanted: str) -> tuple[str, str]:
    """Return the device and, of a GPU, Cycles' name for what drives it. Raises `DeviceMissing`.

    Cycles computes on the CPU, without a word, where its GPU is not there.
    """
    preferences = bpy.context.preferences.addons["cycles"].preferences
    preferences.compute_device_type = "NONE"
    if wanted == CPU:
        return CPU, ""
    for backend in BACKENDS:
        try:
            preferences.compute_device_type = backend
        except TypeError:
            continue  # a build without it
        preferences.refresh_devices()
        for device in preferences.devices:
            device.use = device.type == backend
        if any(device.use for device in preferences.devices) and preferences.has_active_device():
            return CUDA, backend
    preferences.compute_device_type = "NONE"
    if wanted == CUDA:
        raise DeviceMissing(f"Blender finds no GPU by {' or '.join(BACKENDS)}")
    return CPU, ""


def open_scene(bpy: Any, path: str) -> Any:
    """Return a file's scene, none of its scripts having run. Raises `SceneRefused`."""
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    try:
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise SceneRefused(f"not a scene: {_shorten(error)}") from None
    if tuple(bpy.data.version) > tuple(bpy.app.version_file):
        version = ".".join(map(str, bpy.data.version))
        raise SceneRefused(f"the scene was saved by Blender {version}, which is newer")
    scene = bpy.context.scene
    if scene is None or scene.camera is None:
        raise SceneRefused("the scene has no camera")
    missing = next(_find_outside(bpy), None)
    if missing is not None:
        raise SceneRefused(f"{missing} is no part of the scene's file: pack it into that")
    for each in bpy.data.scenes:
        check_programs(each)
    for text in list(bpy.data.texts):
        bpy.data.texts.remove(text)  # no program is left that anything could run
    return scene


def check_programs(scene: Any) -> None:
    """Raise `SceneRefused` for what would be drawn by programs, or otherwise than is ordered."""
    if scene.cycles.shading_system:
        raise SceneRefused("the scene is shaded by programs (Open Shading Language)")
    if any(layer.freestyle_settings.mode == "SCRIPT" for layer in scene.view_layers):
        raise SceneRefused("the scene's lines are drawn by programs (Freestyle scripts)")
    for path in _find_animated(scene):
        if path.startswith(FIXED):
            raise SceneRefused(f"the scene changes {path} from frame to frame")


def _find_animated(scene: Any) -> Iterator[str]:
    """Yield what a scene has animated of its own settings."""
    held = scene.animation_data
    if held is None:
        return
    yield from (driver.data_path for driver in held.drivers)
    actions = [held.action, *(strip.action for track in held.nla_tracks for strip in track.strips)]
    for action in filter(None, actions):
        for layer in action.layers:
            for strip in layer.strips:
                for bag in strip.channelbags:
                    yield from (curve.data_path for curve in bag.fcurves)


def _find_outside(bpy: Any) -> Iterator[str]:
    """Yield what a scene uses and does not hold: Blender would render without it, in silence."""
    data = bpy.data
    for library in data.libraries:
        yield f"the library {library.name!r}"
    for image in data.images:
        is_file = image.source in ("FILE", "SEQUENCE", "MOVIE", "TILED")
        if is_file and image.users and image.packed_file is None and not image.packed_files:
            yield f"the image {image.name!r}"
    for font in data.fonts:
        if font.users and font.filepath != "<builtin>" and font.packed_file is None:
            yield f"the font {font.name!r}"
    for kind in ("volumes", "cache_files", "movieclips"):
        for block in getattr(data, kind):
            if block.users and getattr(block, "packed_file", None) is None:
                yield f"{block.name!r}"


def set_up(scene: Any, orders: dict[str, Any], device: str) -> None:
    """Have a scene rendered as the orders say, the same every time."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    cycles.device = "GPU" if device == CUDA else "CPU"
    cycles.samples = orders["samples"]
    cycles.seed = orders["seed"]
    cycles.use_animated_seed = False
    cycles.use_adaptive_sampling = False
    cycles.time_limit = 0
    cycles.denoiser = "OPENIMAGEDENOISE"
    render.resolution_x, render.resolution_y = orders["resolution_x"], orders["resolution_y"]
    render.resolution_percentage = 100
    render.threads_mode, render.threads = "FIXED", orders["threads"]
    for name in ("use_border", "use_multiview", "use_sequencer", "use_persistent_data"):
        setattr(render, name, False)
    render.use_file_extension = True
    for name in dir(render):
        if name.startswith("use_stamp"):
            setattr(render, name, False)
    picture = render.image_settings
    picture.media_type = "IMAGE"
    picture.file_format = "PNG"
    picture.color_mode, picture.color_depth, picture.compression = "RGBA", "8", 15


def render_frames(bpy: Any, scene: Any, orders: dict[str, Any], tell: Any) -> None:
    """Write the frames to their folder. Raises `SceneRefused` for one that does not render."""
    for done, number in enumerate(orders["numbers"]):
        scene.frame_set(number)
        path = Path(orders["folder"], orders["name"] % number)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        if not path.is_file():
            raise SceneRefused(f"frame {number} has no picture")
        path.write_bytes(keep_picture(path.read_bytes()))
        tell({"progress": 100 * (done + 1) // len(orders["numbers"])})


def keep_picture(data: bytes) -> bytes:
    """Return a PNG without the words in it: Cycles writes how long it took, asked or not."""
    kept, position = [data[:8]], 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in WORDS:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def main() -> None:
    """Do what the orders say."""
    orders = json.loads(sys.stdin.buffer.read())
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Blender talks

    def tell(message: dict[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    bpy = importlib.import_module("bpy")
    try:
        device, backend = choose_device(bpy, orders["device"])
        tell(
            {
                "version": bpy.app.version_string,
                "build": bpy.app.build_hash.decode(),
                "device": device,
                "backend": backend,
            }
        )
        if "scene" in orders:
            scene = open_scene(bpy, orders["scene"])
            for each in bpy.data.scenes:  # a picture may be composed of several
                set_up(each, orders, device)
            render_frames(bpy, scene, orders, tell)
            tell({"are_scripts_refused": bool(bpy.app.autoexec_fail)})
    except DeviceMissing as error:
        tell({"missing": str(error)})
    except SceneRefused as error:
        tell({"invalid": str(error)})
    except RuntimeError as error:
        tell({"failed": _shorten(error)})


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_WORDS]


if __name__ == "__main__":
    main()
