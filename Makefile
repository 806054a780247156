# make demo   create the environment, sharpen a sample scene, leave the result and a picture in demo/
# make test   run the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint scenes clean

demo: $(VENV)/.installed
	mkdir -p demo
	$(BIN)/clippan sharpen sample_scenes/town_8band/ms.tif sample_scenes/town_8band/pan.tif -o demo/hrms.tif --overwrite
	$(BIN)/python sample_scenes/picture.py sample_scenes/town_8band demo/hrms.tif demo/before_after.png
	@echo
	@echo "Look at demo/before_after.png: MS as delivered on the left, sharpened on the right."
	@echo "demo/hrms.tif opens in QGIS; demo/hrms.tif.clippan.json says what was done."

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

scenes: $(VENV)/.installed
	$(BIN)/python sample_scenes/make.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache
