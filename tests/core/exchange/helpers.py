"""What the tests of exchange do again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from src_core.embeddings.store import EmbeddingStore
from src_core.progress import ignore, never
from src_core.project import Project
from src_core.verbs import run_verb


def verb(name: str, **options: Any) -> Any:
    return run_verb(name, options, report=ignore, stop=never)


def embedded(project: Project, encoder: str = "texture") -> tuple[Any, Any]:
    slide = project.slides()[0]
    grid = slide.load_grid()
    view = EmbeddingStore(slide.embeddings(grid.lattice_id)).view(encoder, grid.cells)
    return grid, view.array()


def write_clam(path: Path, coords: Any, features: Any, *, patch_size: int, level: int = 0) -> None:
    patches = path.parents[1] / "patches" / path.name
    for one, named in ((path, {"features": features.astype("f4")}), (patches, {})):
        one.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(one, "w") as file:
            for name, values in {"coords": coords.astype("i4"), **named}.items():
                file[name] = values
            if not named:
                about = {"patch_size": patch_size, "patch_level": level, "name": path.stem}
                file["coords"].attrs.update({**about, "downsample": (1.0, 1.0)})
