"""Write the JSON schemas of all documents beside this file.

python docs/formats/schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path

from clippan_cli.assessment.record import Assessment
from clippan_cli.base.documents import schema
from clippan_cli.modelstore.records import ModelRecord, SupervisorRecord
from clippan_cli.sharpening.record import Explanation, Record

DOCUMENTS = {
    "record": Record,
    "plan": Explanation,
    "assessment": Assessment,
    "model": ModelRecord,
    "supervisor": SupervisorRecord,
}


def main() -> None:
    """Write them."""
    for name, kind in DOCUMENTS.items():
        path = Path(__file__).with_name(f"{name}.schema.json")
        path.write_text(json.dumps(schema(kind, name), indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
