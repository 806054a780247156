# make demo         create the environment, sharpen a sample scene, leave the result and a picture in demo/
# make test         run the tests; with ARGS=--cov, say what they cover; with ARGS=tests/scene, run a part
# make test-lowest  run a part of them with the lowest versions that pyproject.toml names, on Python 3.11
# make lint         check style and types
# make schemas      write the JSON schemas of documents to docs/formats
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN := $(VENV)/bin

.PHONY: demo test test-lowest lint scenes schemas clean

demo: $(VENV)/.installed
	mkdir -p demo
	$(BIN)/clippan sharpen sample_scenes/town_8band/ms.tif sample_scenes/town_8band/pan.tif -o demo/hrms.tif --overwrite
	$(BIN)/python sample_scenes/picture.py sample_scenes/town_8band demo/hrms.tif demo/before_after.png
	@echo
	@echo "Look at demo/before_after.png: MS as delivered on the left, sharpened on the right."
	@echo "demo/hrms.tif opens in QGIS; demo/hrms.tif.clippan.json says what was done."

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

# What leans on other packages most: files, documents, the page of assess, the command line. Old packages may warn.
test-lowest: $(LOWEST)/.installed
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n auto --maxprocesses 4 -W default tests/base tests/scene \
		tests/modelstore tests/sharpening tests/assessment/test_report.py tests/cli/test_cli.py tests/test_pixels.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

scenes: $(VENV)/.installed
	$(BIN)/python sample_scenes/make.py

schemas: $(VENV)/.installed
	$(BIN)/python docs/formats/schemas.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

$(LOWEST)/.installed: pyproject.toml .ci/lowest.py
	python3.11 -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) demo .coverage .mypy_cache .pytest_cache .ruff_cache
