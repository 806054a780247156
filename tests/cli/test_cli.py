from __future__ import annotations

import filecmp
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner, Result

from clippan_cli import __version__
from clippan_cli.cli.app import app
from tests.conftest import PLACE, Made, read, write

MakeScene = Callable[..., Made]


def call(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(words), env=environment)


def sharpen(scene: Made, *words: str, **environment: str) -> Result:
    return call("sharpen", scene.ms, scene.pan, "-o", scene.out, *words, **environment)


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def left(scene: Made) -> set[str]:
    """Files in the folder besides the inputs."""
    return {path.name for path in scene.folder.iterdir()} - {"ms.tif", "pan.tif"}


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom clippan_cli.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'rasterio', 'scipy', 'numpy', 'shapely'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version() -> None:
    assert call("--version").stdout == f"clippan {__version__}\n"


def test_path_on_stdout_and_talk_on_stderr(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    result = sharpen(scene)
    assert result.exit_code == 0
    assert result.stdout == scene.out + "\n"
    assert "measured shift" in result.stderr
    assert "sharpening 100%" in result.stderr
    assert left(scene) == {"hrms.tif", "hrms.tif.clippan.json"}


def test_quiet(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    assert sharpen(scene, "-q").stderr == ""
    result = call("-q", "sharpen", scene.ms, scene.pan, "-o", scene.out, "--overwrite")
    assert result.stderr == ""
    assert result.stdout == scene.out + "\n"


def test_json_is_one_document(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    document = json.loads(sharpen(scene, "--json").stdout)
    assert document["schema_version"] == 1
    assert document["output"] == scene.out
    document = json.loads(call("info", scene.ms, scene.pan, "--json").stdout)
    assert document["geometry"]["ratio"] == [4, 4]


def test_info_tells_people(make_scene: MakeScene) -> None:
    scene = make_scene(size=64, slip=(0.5, 0.0))
    result = call("info", scene.ms, scene.pan)
    assert result.exit_code == 0
    for word in ("64 × 64", "256 × 256", "EPSG:32631", "uint16", "ratio", "phase", "+0.5", "sensor", "injector-4"):
        assert word in result.stdout


def test_dry_run_prints_the_plan_and_does_nothing(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    result = sharpen(scene, "--dry-run")
    assert result.exit_code == 0
    assert "tiles" in result.stdout
    assert left(scene) == set()
    document = json.loads(sharpen(scene, "--dry-run", "--json", "--method", "gsa").stdout)
    assert document["plan"]["method"] == "gsa"


def test_tuned_on_the_scene_first(make_scene: MakeScene) -> None:
    scene = make_scene(size=96)
    result = sharpen(scene, "--tune", "30")
    assert result.exit_code == 0
    assert result.stdout == scene.out + "\n"
    assert "too small to tell whether that holds one scale up" in result.stderr
    assert left(scene) == {"hrms.tif", "hrms.tif.clippan.json", "hrms.tif.model"}
    record = json.loads(Path(scene.out + ".clippan.json").read_text())
    assert record["plan"]["method"] == "hrms.tif.model"
    again = sharpen(scene, "--tune", "30", "--resume")
    assert again.exit_code == 0
    assert "is complete already" in again.stderr
    assert sharpen(scene, "--tune", "30").exit_code == 5


def test_a_scene_that_cannot_be_learned_is_sharpened_all_the_same(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    result = sharpen(scene, "--tune", "30")
    assert result.exit_code == 0
    assert "the model is used as it is: scene hrms.tif: MS of 40 × 40 px is too small" in result.stderr
    assert left(scene) == {"hrms.tif", "hrms.tif.clippan.json"}
    result = sharpen(scene, "--tune", "30", "--method", "gsa", "--overwrite")
    assert result.exit_code == 2
    assert "gsa has nothing to tune" in result.stderr


def test_environment_and_config_file(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    config = tmp_path / "clippan.toml"
    config.write_text('[sharpen]\nmethod = "brovey"\nconsistency = 1\n')

    def plan(*more: str, **environment: str) -> dict[str, Any]:
        words = ("--config-file", str(config), "sharpen", scene.ms, scene.pan, "--dry-run", "--json", *more)
        document: dict[str, Any] = json.loads(call(*words, **environment).stdout)["plan"]
        return document

    assert (plan()["method"], plan()["consistency"]) == ("brovey", 1)
    assert plan(CLIPPAN_METHOD="exp")["method"] == "exp"
    assert plan("--method", "gsa", CLIPPAN_METHOD="exp")["method"] == "gsa"
    config.write_text('[sharpen]\nco = ["ZLEVEL=1"]\nbidx = "2..3"\nof = "COG"\n')
    assert (plan()["creation_options"], plan()["driver"]) == ({"ZLEVEL": "1"}, "COG")
    for text in ("[sharpen\n", "sharpen = 3\n", "[sharpn]\n", "[sharpen]\ntile_sise = 3\n", b"\xff"):
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
        refused(call("--config-file", str(config), "info", scene.ms, scene.pan), 2, str(config))


def test_single_band_files_and_gdal_names(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    assert sharpen(scene).exit_code == 0
    wanted = read(scene.out)
    with rasterio.open(scene.ms) as source:
        pixels, place = source.read(), source.transform
    words = []
    for k in range(4):
        words += ["--ms", write(tmp_path / f"Bä nd {k}.tif", pixels[k : k + 1], place)]
    out = str(tmp_path / "single.tif")
    assert call("sharpen", *words, scene.pan, "-o", out).exit_code == 0
    np.testing.assert_array_equal(read(out), wanted)
    envi = write(tmp_path / "ms_envi.img", pixels, place, driver="ENVI")
    assert call("sharpen", "--ms", envi, "--pan", scene.pan, "-o", out, "--overwrite").exit_code == 0
    np.testing.assert_array_equal(read(out), wanted)
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(scene.ms, "ms.tif")
    inside = f"/vsizip/{tmp_path / 'scene.zip'}/ms.tif"
    assert call("sharpen", inside, scene.pan, "-o", out, "--overwrite").exit_code == 0
    np.testing.assert_array_equal(read(out), wanted)


def test_usage_errors(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    refused(call("sharpen", scene.ms, "-o", scene.out), 2, "give one MS and one PAN")
    refused(call("sharpen", scene.ms, scene.pan, scene.pan, "-o", scene.out), 2, "is too much")
    refused(call("sharpen", scene.ms, scene.pan), 2, "no output given")
    refused(sharpen(scene, "--register", "maybe"), 2, "--register 'maybe'")
    refused(sharpen(scene, "--src-nodata", "zero"), 2, "--src-nodata 'zero'")
    refused(sharpen(scene, "--memory", "lots"), 2, "'lots' is not an amount of memory")
    refused(sharpen(scene, "-j", "many"), 2, "--jobs 'many'")
    refused(sharpen(scene, "-b", "1-3"), 2, "--bidx '1-3'")
    refused(sharpen(scene, "-b", "9"), 2, "MS has no band 9")
    refused(sharpen(scene, "--co", "COMPRESS"), 2, "--co 'COMPRESS' is not NAME=VALUE")
    refused(sharpen(scene, "--method", "magic"), 2, "unknown method 'magic'")
    refused(sharpen(scene, "--of", "PNG"), 2, "unknown output format")
    refused(sharpen(scene, "-t", "uint7"), 2, "unknown pixel type 'uint7'")
    refused(sharpen(scene, "--dst-nodata", "-1"), 2, "nodata -1 does not exist in uint16")
    refused(sharpen(scene, "--overwrite", "--resume"), 2, "exclude each other")
    assert sharpen(scene, "--consistency", "-1").exit_code == 2
    assert left(scene) == set()


def test_swapped(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    refused(call("sharpen", scene.pan, scene.ms, "-o", scene.out), 3, "PAN has 4 bands", "swapped")
    single = make_scene(size=40, count=1)
    refused(call("sharpen", single.pan, single.ms, "-o", scene.out), 3, "ratio 0.25", "swapped")


def test_pan_with_several_bands(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    three = write(tmp_path / "three.tif", np.repeat(read(scene.pan), 3, 0), PLACE)
    refused(call("sharpen", scene.ms, three, "-o", scene.out), 3, "PAN has 3 bands, expected 1")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Affine.translation(900, 0) @ Affine.scale(4), ["do not overlap"]),
        (Affine.scale(20), ["20 times coarser", "at most 16"]),
        (Affine.scale(0.5), ["ratio 0.5", "swapped"]),
        (Affine.scale(1), ["nothing to sharpen"]),
        (Affine.rotation(3) @ Affine.scale(4), ["rotated grid", "gdalwarp"]),
        (Affine.scale(4, -4), ["opposite directions"]),
    ],
)
def test_grids_that_do_not_fit(make_scene: MakeScene, tmp_path: Path, place: Affine, words: list[str]) -> None:
    scene = make_scene(size=40)
    ms = write(tmp_path / "odd.tif", read(scene.ms), PLACE @ place)
    refused(call("sharpen", ms, scene.pan, "-o", scene.out), 3, *words)
    assert not Path(scene.out).exists()


def test_rotated_pan(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    turned = write(tmp_path / "turned.tif", read(scene.pan), PLACE @ Affine.rotation(10))
    refused(call("sharpen", scene.ms, turned, "-o", scene.out), 3, "rotated grid")


def test_different_crs(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    ms = write(tmp_path / "other.tif", read(scene.ms), PLACE @ Affine.scale(4), crs="EPSG:32632")
    refused(
        call("sharpen", ms, scene.pan, "-o", scene.out),
        3,
        "MS is in EPSG:32632, PAN in EPSG:32631",
        f"rio warp {ms} ms_warped.tif --dst-crs EPSG:32631",
    )


def test_no_georeference_is_assumed_and_said(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    assert sharpen(scene).exit_code == 0
    wanted = read(scene.out)
    bare = Path(write(tmp_path / "bare.img", read(scene.ms), Affine.scale(4), driver="ENVI", crs=None))
    header = bare.with_suffix(".hdr")
    header.write_text("\n".join(line for line in header.read_text().splitlines() if "map info" not in line))
    result = call("sharpen", str(bare), scene.pan, "-o", scene.out, "--overwrite")
    assert result.exit_code == 0
    assert "has no georeference; both are assumed to cover the same ground" in result.stderr
    np.testing.assert_array_equal(read(scene.out), wanted)


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("which", ["ms", "pan"])
def test_truncated(make_scene: MakeScene, which: str, nodata: int | None) -> None:
    scene = make_scene(size=64, compress="deflate", nodata=nodata)
    path = Path(getattr(scene, which))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    result = sharpen(scene)
    assert result.exit_code == 3, result.output
    assert "error: " in result.stderr
    assert "damaged or truncated" in result.stderr or "cannot open" in result.stderr
    assert left(scene) == set()


def test_all_nodata(make_scene: MakeScene) -> None:
    scene = make_scene(size=40, valid=np.zeros((40, 40), bool), nodata=0)
    refused(sharpen(scene), 3, "no pixel is valid in both MS and PAN")
    assert left(scene) == set()


def test_complex(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(size=40)
    ms = write(tmp_path / "complex.tif", read(scene.ms).astype("complex64"), PLACE @ Affine.scale(4))
    refused(call("sharpen", ms, scene.pan, "-o", scene.out), 3, "holds complex numbers")


def test_output_exists(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    Path(scene.out).write_text("precious")
    refused(sharpen(scene), 5, "exists", "--overwrite")
    assert Path(scene.out).read_text() == "precious"
    assert sharpen(scene, "--overwrite").exit_code == 0
    assert read(scene.out).shape == (4, 160, 160)
    refused(call("sharpen", scene.ms, scene.pan, "-o", scene.ms, "--overwrite"), 5, "is an input")


def test_output_not_writable(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=40)
    missing = str(scene.folder / "no" / "such" / "hrms.tif")
    refused(call("sharpen", scene.ms, scene.pan, "-o", missing), 5, "does not exist", "mkdir -p")
    refused(call("sharpen", scene.ms, scene.pan, "-o", str(scene.folder), "--overwrite"), 5, "is a folder")
    # root may write anywhere, so the system's answer is replaced
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(sharpen(scene), 5, "is not writable")


def test_disk_full_before_the_work(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(size=40)
    monkeypatch.setattr("clippan_cli.sharpening.sharpen.free_space", lambda _: 1 << 10)
    refused(sharpen(scene), 5, "the disk is full", "0 MiB free")
    assert left(scene) == set()


def test_disk_full_during_the_work(make_scene: MakeScene) -> None:
    scene = make_scene(size=200)

    def little() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    command = [sys.executable, "-m", "clippan_cli", "sharpen", scene.ms, scene.pan, "-o", scene.out]
    done = subprocess.run(
        [*command, "--co", "COMPRESS=NONE"], preexec_fn=little, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "error: " in done.stderr
    assert not Path(scene.out).exists()


@pytest.mark.parametrize(
    ("option", "word"), [("COMPRES=DEFLATE", "COMPRES"), ("COMPRESS=FOO", "FOO"), ("COMPRESS=JPEG", "")]
)
def test_invalid_creation_options(make_scene: MakeScene, option: str, word: str) -> None:
    scene = make_scene(size=40)
    refused(sharpen(scene, "--co", option), 5, word)
    assert left(scene) == set()


def test_too_little_memory(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    refused(sharpen(scene, "--memory", "100M"), 8, "--memory allows 100 MiB", "--memory ")
    assert left(scene) == set()


def test_no_such_device(make_scene: MakeScene) -> None:
    scene = make_scene(size=40)
    refused(sharpen(scene, "--device", "cuda:99"), 8, "cuda:99")


def test_cog_with_options(make_scene: MakeScene) -> None:
    scene = make_scene(size=160)
    assert sharpen(scene, "--of", "COG", "--co", "COMPRESS=ZSTD", "--co", "BLOCKSIZE=256").exit_code == 0
    with rasterio.open(scene.out) as made:
        structure = made.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "ZSTD"
        assert made.overviews(1)
    assert left(scene) == {"hrms.tif", "hrms.tif.clippan.json"}


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_gives_the_same_bytes(make_scene: MakeScene, how: signal.Signals) -> None:
    scene = make_scene(size=200, slip=(0.3, 0.1), seed=4)
    options = ["--tile-size", "64", "--method", "gsa"]
    whole = str(scene.folder / "whole.tif")
    assert call("-q", "sharpen", scene.ms, scene.pan, "-o", whole, *options).exit_code == 0
    command = [sys.executable, "-m", "clippan_cli", "sharpen", scene.ms, scene.pan, "-o", scene.out, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = scene.folder / "hrms.tif.partial.state"
    wait_for(lambda: state.exists() and json.loads(state.read_bytes().partition(b"\n")[0])["rows"] >= 4)
    process.send_signal(how)
    assert process.wait() == (-9 if how == signal.SIGKILL else 130)
    assert not Path(scene.out).exists()
    refused(sharpen(scene, "--resume", "--method", "exp", "--tile-size", "64"), 5, "belongs to another run", "options")
    result = sharpen(scene, "--resume", *options)
    assert result.exit_code == 0, result.stderr
    assert "resuming after" in result.stderr
    assert filecmp.cmp(whole, scene.out, shallow=False)
    assert not any("partial" in path.name for path in scene.folder.iterdir())
    again = sharpen(scene, "--resume", *options)
    assert again.exit_code == 0
    assert "complete already" in again.stderr
    refused(sharpen(scene, "--resume", "--method", "exp", "--tile-size", "64"), 5, "belongs to another run", "options")
