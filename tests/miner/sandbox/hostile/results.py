"""Leaves results that lead elsewhere: links, pipes, sockets, devices, folders behind links."""

import os
import socket
from pathlib import Path

Path("good.txt").write_text("good")
os.mkdir("folder")
Path("folder/good.txt").write_text("good too")
os.symlink("/etc/passwd", "link")
os.symlink("/", "root")
os.symlink("../../../..", "folder/above")
os.link("good.txt", "twin")
os.symlink("folder", "alias")
socket.socket(socket.AF_UNIX).bind("socket")
Path("a\\..\\b").write_text("for other systems")
Path("new\nline").write_text("of a log")
Path("folder/..hidden").write_text("a plain name")
