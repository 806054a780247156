from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from scipy import io

from clippan_cli.base.listener import Deaf
from clippan_cli.base.machine import MachineOptions, use_machine
from clippan_cli.errors import ExitCode, InputError, OutputError
from clippan_cli.opening.options import SceneOptions
from clippan_cli.opening.record import describe_files
from clippan_cli.opening.scene import open_scene
from clippan_cli.scene import collection
from clippan_cli.scene.find import SceneFiles, find_all
from clippan_cli.scene.pair import Pair, open_pair
from tests.conftest import Made, read

Arrays = dict[str, NDArray[Any]]
Save = Callable[[Path, Arrays], None]

USER_BLOCK = 512


def hdf5(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def matlab(path: Path, arrays: Arrays) -> None:
    io.savemat(path, arrays, do_compression=True)


def matlab73(path: Path, arrays: Arrays) -> None:
    """As MATLAB does: its header in a user block, axes from the last to the first, none of one element at the end."""
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        for name, array in arrays.items():
            trimmed = array[..., 0] if array.ndim > 2 and array.shape[-1] == 1 else array
            file[name] = trimmed.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def draw(samples: int = 3, bands: int = 4, dtype: str = "float64") -> Arrays:
    """A collection as PanCollection's are, ``(N, C, h, w)``; PAN is 64 × 48 px."""
    rng = np.random.default_rng(bands)
    sizes = {"ms": (bands, 16, 12), "pan": (1, 64, 48), "gt": (bands, 64, 48), "lms": (bands, 64, 48)}
    return {name: rng.integers(1, 250, (samples, *size)).astype(dtype) for name, size in sizes.items()}


def moved(arrays: Arrays, *axes: int) -> Arrays:
    return {name: array.transpose(axes) for name, array in arrays.items()}


def pair_of(scene: SceneFiles) -> Pair:
    return open_pair(scene.ms, scene.pan)


def check_same(scenes: list[SceneFiles], arrays: Arrays) -> None:
    """The scenes hold the arrays ``(N, C, h, w)``, pixel for pixel."""
    assert len(scenes) == len(arrays["ms"])
    for index, scene in enumerate(scenes):
        assert scene.truth is not None
        for path, name in ((scene.ms[0], "ms"), (scene.pan, "pan"), (scene.truth, "gt")):
            np.testing.assert_array_equal(read(path), arrays[name][index])
        with pair_of(scene) as pair:
            assert pair.sampling.ratio == (4, 4)
            assert pair.sampling.nominal == (2, 2)
            assert pair.overlap > 0.9
            assert not [text for text in pair.warnings if "sensor" not in text]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize(
    ("suffix", "save", "axes"),
    [
        (".h5", hdf5, (0, 1, 2, 3)),
        (".h5", hdf5, (0, 2, 3, 1)),
        (".HDF5", hdf5, (0, 1, 2, 3)),
        (".mat", matlab, (2, 3, 1, 0)),
        (".mat", matlab, (0, 2, 3, 1)),
        (".mat", matlab, (0, 1, 2, 3)),
        (".mat", matlab73, (2, 3, 1, 0)),
        (".mat", matlab73, (0, 2, 3, 1)),
    ],
)
def test_collections_become_scenes(
    tmp_path: Path, samples: int, bands: int, suffix: str, save: Save, axes: tuple[int, ...]
) -> None:
    arrays, path = draw(samples, bands), tmp_path / f"test{suffix}"
    save(path, moved(arrays, *axes))
    scenes = find_all([str(path)])
    check_same(scenes, arrays)
    numbers = [""] if samples == 1 else [" [0]", " [1]", " [2]"]
    assert [scene.name for scene in scenes] == [f"test{suffix}{number}" for number in numbers]
    assert {read(scene.pan).dtype for scene in scenes} == {np.dtype("uint16")}


def test_axes_that_are_left_out(tmp_path: Path) -> None:
    arrays = draw()
    hdf5(tmp_path / "bare.h5", {**arrays, "pan": arrays["pan"][:, 0]})
    check_same(find_all([str(tmp_path / "bare.h5")]), arrays)
    first = {name: array[:1] for name, array in arrays.items()}
    hdf5(tmp_path / "one.h5", {name: array[0] for name, array in arrays.items()})
    check_same(find_all([str(tmp_path / "one.h5")]), first)
    for save in (matlab, matlab73):
        image = {name: array[0].transpose(1, 2, 0).squeeze() for name, array in arrays.items()}
        save(tmp_path / f"{save.__name__}.mat", image)
        check_same(find_all([str(tmp_path / f"{save.__name__}.mat")]), first)


def test_names_of_dlpan(tmp_path: Path) -> None:
    arrays = draw(1)
    names = {"ms": "I_MS_LR", "pan": "I_PAN", "gt": "I_GT", "lms": "I_MS"}
    matlab(tmp_path / "dlpan.mat", {names[name]: array[0].transpose(1, 2, 0) for name, array in arrays.items()})
    check_same(find_all([str(tmp_path / "dlpan.mat")]), arrays)


def test_without_a_truth(tmp_path: Path) -> None:
    arrays = draw()
    hdf5(tmp_path / "full.h5", {name: arrays[name] for name in ("ms", "pan", "lms")})
    assert [scene.truth for scene in find_all([str(tmp_path / "full.h5")])] == [None] * 3


@pytest.mark.parametrize(
    ("dtype", "top", "stored"),
    [
        ("uint8", 255, "uint8"),
        ("int16", 2047, "int16"),
        (">u2", 2047, "uint16"),
        ("float32", 0.5, "float32"),
        ("float16", 0.5, "float32"),
        ("bool", 1, "uint8"),
        ("float64", 65535, "uint16"),
        ("int64", 2047, "uint16"),
        ("float64", 65536, "float64"),
        ("float64", -1, "float64"),
        ("float64", 0.5, "float64"),
        ("float64", np.nan, "float64"),
        ("int64", 65536, "int64"),
    ],
)
def test_pixels_keep_their_type(tmp_path: Path, dtype: str, top: float, stored: str) -> None:
    arrays = draw(1, dtype=dtype)
    for array in arrays.values():
        array.flat[7] = top
    hdf5(tmp_path / "a.h5", arrays)
    (scene,) = find_all([str(tmp_path / "a.h5")])
    with rasterio.open(scene.ms[0]) as file:
        assert set(file.dtypes) == {stored}
        assert file.nodata is None
        assert file.crs is None
        assert ColorInterp.alpha not in file.colorinterp
        np.testing.assert_array_equal(file.read(), arrays["ms"][0])
    with pair_of(scene) as pair:
        assert pair.ms.count == 4


def test_ratios_other_than_four(tmp_path: Path) -> None:
    arrays = draw(1)
    hdf5(tmp_path / "two.h5", {"ms": arrays["gt"][..., ::2, ::2], "pan": arrays["pan"]})
    with pair_of(*find_all([str(tmp_path / "two.h5")])) as pair:
        assert pair.sampling.ratio == (2, 2)
        assert pair.sampling.nominal == (1, 1)


def test_compressed_chunks_through_many_samples(tmp_path: Path) -> None:
    arrays = draw(9)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            chunks = (5, 1, *(side // 2 for side in array.shape[2:]))
            file.create_dataset(name, data=array, compression="gzip", chunks=chunks)
    check_same(find_all([str(tmp_path / "a.h5")]), arrays)


def test_folders(tmp_path: Path, make_scene: Callable[..., Made]) -> None:
    scene = make_scene(size=32)
    arrays = draw(2)
    (tmp_path / "wv3").mkdir()
    hdf5(tmp_path / "wv3" / "test.h5", arrays)
    hdf5(tmp_path / "wv3" / "weights.h5", {"kernel": arrays["ms"]})
    matlab(tmp_path / "wv3" / "last.mat", {name: array[:1] for name, array in arrays.items()})
    # Beside an MS and a PAN raster other files do not count.
    (tmp_path / "notes.h5").write_bytes(b"no HDF5")
    found = find_all([str(tmp_path)])
    names = ["wv3/last.mat", "wv3/test.h5 [0]", "wv3/test.h5 [1]"]
    assert [each.name for each in found] == [tmp_path.name, *names]
    assert found[0] == SceneFiles(tmp_path.name, (scene.ms,), scene.pan)
    with pair_of(found[-1]) as pair:
        assert (pair.sensor.id, pair.recognised_by) == ("worldview-3", "folder wv3")
    (tmp_path / "wv3" / "half.h5").write_bytes((tmp_path / "wv3" / "test.h5").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"cannot read .*half\.h5"):
        find_all([str(tmp_path)])


def test_a_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, arrays = tmp_path / "a.h5", draw()
    hdf5(path, arrays)
    first = find_all([str(path)])
    monkeypatch.chdir(tmp_path)
    again = find_all(["a.h5"])
    assert [scene.pan for scene in again] == [scene.pan for scene in first]
    arrays["pan"][0] += 1
    hdf5(path, arrays)
    os.utime(path, (1, 1))
    check_same(find_all([str(path)]), arrays)
    assert Path(first[0].pan).is_file(), "a scene that was found stays"


def test_what_makes_a_scene_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    hdf5(path, draw())
    first = find_all([str(path)])[1]
    assert first.source == str(path)
    assert first.originals == (str(path),)
    known = describe_files(first.originals)
    collection._unpack.cache_clear()
    again = find_all([str(path)])[1]
    assert again.pan != first.pan
    assert (again.name, describe_files(again.originals)) == (first.name, known)
    assert SceneFiles("a", ("b", "c"), "d").originals == ("b", "c", "d")


def test_the_temporary_folder_ends_with_its_process(tmp_path: Path) -> None:
    hdf5(tmp_path / "a.h5", draw())
    code = (
        "import os, sys; from clippan_cli.scene.find import find_all\n"
        "pan = find_all(sys.argv[1:])[0].pan\n"
        "if child := os.fork(): os.waitpid(child, 0); print(os.path.exists(pan), pan)"
    )
    space = tmp_path / "space"
    space.mkdir()
    words = [sys.executable, "-c", code, str(tmp_path / "a.h5")]
    environment = {**os.environ, "TMPDIR": str(space)}
    result = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    there, _, pan = result.stdout.partition(" ")
    assert there == "True", "a child that was forked has removed it"
    assert pan.startswith(str(space))
    assert list(space.iterdir()) == []


def test_a_sample_opens_like_its_rasters(tmp_path: Path, make_scene: Callable[..., Made]) -> None:
    scene = make_scene(phase=2)
    hdf5(tmp_path / "a.h5", {"ms": read(scene.ms)[None], "pan": read(scene.pan)[None]})
    (files,) = find_all([str(tmp_path / "a.h5")])
    with (
        use_machine(MachineOptions(device="cpu", jobs=1)) as machine,
        open_scene(files, SceneOptions(), machine, Deaf()) as one,
        open_scene(SceneFiles("a", (scene.ms,), scene.pan), SceneOptions(), machine, Deaf()) as other,
    ):
        assert one.known.stated.nominal == (2, 2)
        assert one.sampling == other.sampling
        assert one.known.scale == other.known.scale
        boxes = one.pair.ms.grid.box, one.pair.pan.grid.box
        assert bool((one.read(*boxes).ms.values == other.read(*boxes).ms.values).all())


def test_a_benchmark_scene_in_matlab(real_scene: Callable[[str], Path], tmp_path: Path) -> None:
    folder = real_scene("rr_gt_qb_lppn")
    arrays = {name: read(str(folder / f"{name}.tif")).transpose(1, 2, 0) for name in ("ms", "pan", "gt")}
    matlab(tmp_path / "quickbird.mat", {name: array.astype(np.float64) for name, array in arrays.items()})
    (files,) = find_all([str(tmp_path / "quickbird.mat")])
    with pair_of(files) as made, open_pair([str(folder / "ms.tif")], str(folder / "pan.tif")) as known:
        assert (made.sampling, made.overlap) == (known.sampling, known.overlap)
        for one, other in ((made.ms, known.ms), (made.pan, known.pan)):
            np.testing.assert_array_equal(one.read(one.grid.box)[0], other.read(other.grid.box)[0])
    assert files.truth is not None
    np.testing.assert_array_equal(read(files.truth), read(str(folder / "gt.tif")))


def without(arrays: Arrays, *names: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}


WRONG: Mapping[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "no PAN": (lambda x: without(x, "pan"), "lacks pan: it has gt, lms, ms"),
    "neither": (lambda x: without(x, "ms", "pan", "gt"), "lacks ms and pan: it has lms"),
    "nothing": (lambda _: {}, "lacks ms and pan: it has no array"),
    "samples": (lambda x: {**x, "pan": x["pan"][:2]}, r"\(2, 1, 64, 48\).*: 3 of MS, but 2 of PAN"),
    "size": (lambda x: {**x, "pan": x["pan"][..., 1:]}, "PAN of 47 × 64 px is no whole multiple of MS of 12 × 16 px"),
    "PAN of 3 bands": (lambda x: {**x, "pan": x["gt"][:, :3]}, "PAN the same and one band"),
    "truth": (lambda x: {**x, "gt": x["gt"][:, :3]}, r"gt \(3, 3, 64, 48\): it takes 3 × 4 bands of 48 × 64 px"),
    "words": (lambda x: {**x, "pan": np.array([b"a", b"b"])}, r"pan of .* holds \|S1"),
    "complex": (lambda x: {**x, "ms": x["ms"] * 1j}, "ms of .* holds complex128"),
    "no sample": (lambda x: {name: array[:0] for name, array in x.items()}, "no scene in"),
}


@pytest.mark.parametrize(("change", "what"), WRONG.values(), ids=WRONG)
def test_wrong_arrays(tmp_path: Path, change: Callable[[Arrays], Arrays], what: str) -> None:
    hdf5(tmp_path / "a.h5", change(draw()))
    with pytest.raises(InputError, match=what) as caught:
        find_all([str(tmp_path / "a.h5")])
    assert caught.value.hint.startswith("it takes ")
    assert caught.value.exit_code == ExitCode.INPUT


def test_wrong_arrays_of_matlab(tmp_path: Path) -> None:
    matlab(tmp_path / "a.mat", {"ms": np.ones((16, 12, 4)), "pan": np.ones((64, 47))})
    with pytest.raises(InputError, match=r"ms \(16, 12, 4\), pan \(64, 47\): PAN of 47 × 64 px is no whole multiple"):
        find_all([str(tmp_path / "a.mat")])
    matlab73(tmp_path / "b.mat", {"ms": np.ones((16, 12, 4)), "pan": np.ones((64, 47))})
    with pytest.raises(InputError, match=r"ms \(16, 12, 4\), pan \(64, 47\): PAN of 47 × 64 px is no whole multiple"):
        find_all([str(tmp_path / "b.mat")])
    matlab(tmp_path / "c.mat", {"ms": np.array([["a"]], object), "pan": np.ones((64, 48))})
    with pytest.raises(InputError, match=r"ms of .* holds"):
        find_all([str(tmp_path / "c.mat")])


@pytest.mark.parametrize(("suffix", "save"), [(".h5", hdf5), (".mat", matlab), (".mat", matlab73)])
def test_damaged_files(tmp_path: Path, suffix: str, save: Save) -> None:
    path = tmp_path / f"a{suffix}"
    save(path, without(draw(), "lms"))
    whole = path.read_bytes()
    for damaged in (b"", b"a text of some length" * 9, whole[: len(whole) // 2], whole[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"cannot read {path}: .") as caught:
            find_all([str(path)])
        assert caught.value.hint == "it takes an HDF5 or MATLAB file that is whole: copy it once more"


def test_damage_that_is_met_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, array in without(draw(), "gt", "lms").items():
            made = file.create_dataset(name, data=array, compression="gzip", chunks=(1, *array.shape[1:]))
        place = made.id.get_chunk_info(2).byte_offset
    with path.open("r+b") as raw:
        raw.seek(place)
        raw.write(bytes(64))
    with pytest.raises(InputError, match="cannot read"):
        find_all([str(path)])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene in"):
        find_all([str(tmp_path / "nowhere.h5")])
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.h5"):
        collection.unpack(tmp_path / "nowhere.h5")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = draw()
    hdf5(tmp_path / "a.h5", arrays)
    matlab73(tmp_path / "b.mat", moved(arrays, 2, 3, 1, 0))
    matlab(tmp_path / "c.mat", moved(arrays, 2, 3, 1, 0))
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name in ("a.h5", "b.mat"):
        with pytest.raises(InputError, match="h5py is not installed") as caught:
            find_all([str(tmp_path / name)])
        assert "pip install 'clippan[h5]'" in caught.value.hint
    check_same(find_all([str(tmp_path / "c.mat")]), arrays)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5(tmp_path / "a.h5", draw())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for what in ("pathlib.Path.write_bytes", "clippan_cli.scene.collection.mkdtemp"):
        monkeypatch.setattr(what, full)
        with pytest.raises(OutputError, match=r"cannot unpack a.h5.* into .*: .*No space left") as caught:
            find_all([str(tmp_path / "a.h5")])
        assert "TMPDIR" in caught.value.hint
