"""SIFT descriptors of photographs in Debian's wallpaper packages: 988,749 x 128, 10,000 queries, l2.

OpenCV finds them; values are whole numbers from 0 to 255. Every tenth picture gives queries only,
the others rows only, and no descriptor appears twice, so no query lies on a row. What a picture
gave is kept in <set>.pictures/ until the set is made: a run that was stopped goes on there.
Another version of OpenCV finds other descriptors; the checksums are those of 4.6.0."""

import glob
import os
import shutil
import subprocess

import cv2
import numpy as np

import fbin
from progress import Progress

NAME, METRIC = "sift", "l2"
SHA256 = {"base": "83ba977c321aafd75a3ec9269f6286bc86b077c3339c34cfdb15f98d1b6facc8",
          "query": "65023cc2f2abf1f8dcf0ec4395686734b0e7633665babbc9eefbbabc15a146de"}
PACKAGES = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds",
            "plasma-workspace-wallpapers", "ukui-wallpapers")
PIXELS_MIN = 10**6
PER_PICTURE_MAX = 80000  # so that no picture is most of the set
ROWS_MAX, QUERIES, SEED = 1000000, 10000, 7
CONTRAST = 0.02          # half of OpenCV's default: twice the descriptors
DIM = 128


def fetch(downloads):
    """The folder with the packages' files, each package in one of its own."""
    root = os.path.join(downloads, "wallpapers")
    for package in PACKAGES:
        folder = os.path.join(root, package)
        if os.path.isdir(folder):
            continue
        os.makedirs(root, exist_ok=True)
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", package],
                       cwd=root, check=True, stdin=subprocess.DEVNULL)
        deb = glob.glob(os.path.join(glob.escape(root), package + "_*.deb"))[0]
        subprocess.run(["dpkg", "-x", deb, folder + ".part"], check=True)
        os.rename(folder + ".part", folder)
        os.unlink(deb)
    return root


def subject(folder, name):
    """What is the same for the sizes that one picture comes in."""
    if "/contents/images" in folder:
        return folder
    return os.path.join(folder, name.split("_3840x")[0].split("_5640x")[0].split(".")[0])


def pictures(root):
    """Paths of the photographs, the largest size of each, sorted."""
    best, names = {}, []
    for package in PACKAGES:
        for folder, _, files in os.walk(os.path.join(root, package)):
            names += [(folder, name) for name in files if name.lower().endswith((".jpg", ".png"))
                      and "images_dark" not in folder
                      and not os.path.islink(os.path.join(folder, name))]
    progress = Progress("sift: looking at pictures", len(names), "files")
    for i, (folder, name) in enumerate(sorted(names)):
        path = os.path.join(folder, name)
        picture = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        progress.step(i + 1)
        if picture is None or picture.size < PIXELS_MIN:
            continue
        key = subject(folder, name)
        if key not in best or picture.size > best[key][0]:
            best[key] = (picture.size, path)
    return sorted(path for _, path in best.values())


def distinct(rows):
    _, first = np.unique(np.ascontiguousarray(rows).view("V128").ravel(), return_index=True)
    return rows[np.sort(first)]


def describe(paths, folder):
    """The distinct descriptors of each picture, as bytes; each kept in a file of the folder."""
    cv2.setNumThreads(1)
    sift = cv2.SIFT_create(contrastThreshold=CONTRAST)
    os.makedirs(folder, exist_ok=True)
    progress, found = Progress("sift: describing", len(paths), "pictures"), []
    for i, path in enumerate(paths):
        kept = os.path.join(folder, f"{i:03d}.npy")
        if not os.path.exists(kept):
            _, rows = sift.detectAndCompute(cv2.imread(path, cv2.IMREAD_GRAYSCALE), None)
            rows = np.zeros((0, DIM), "u1") if rows is None else distinct(rows.astype("u1"))
            with open(kept + ".part", "wb") as f:
                np.save(f, rows)
            os.replace(kept + ".part", kept)
        found.append(np.load(kept))
        progress.step(i + 1)
    return found


def make(path, downloads):
    if fbin.shape(path("base")) and fbin.shape(path("query")):
        return
    scratch = os.path.join(downloads, "sift.pictures")
    rng, parts = np.random.RandomState(SEED), {"base": [], "query": []}
    for i, rows in enumerate(describe(pictures(fetch(downloads)), scratch)):
        if len(rows) > PER_PICTURE_MAX:
            rows = rows[np.sort(rng.permutation(len(rows))[:PER_PICTURE_MAX])]
        parts["query" if i % 10 == 5 else "base"].append(rows)
    base, query = (distinct(np.concatenate(parts[name])) for name in ("base", "query"))
    query = query[~np.isin(query.view("V128").ravel(), base.view("V128").ravel())]
    base = base[np.sort(rng.permutation(len(base))[:ROWS_MAX])]
    query = query[np.sort(rng.permutation(len(query))[:QUERIES])]
    fbin.write(path("query"), query, "<f4")
    fbin.write(path("base"), base, "<f4")
    shutil.rmtree(scratch)
