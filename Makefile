# tutti: every job is one target. ARGS="..." is passed through to the command behind it.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
ARGS ?=
SIZE ?= small
OUT ?=
RUNS ?= runs

.DEFAULT_GOAL := help
.PHONY: help setup setup-bench doctor demo transcribe corpus train-amt train-amt-nano train-timbre export-amt eval-amt \
        train-amt-smoke ablate-amt ablate-timbre bench-amt bench-cqt bench-transcribe bench-metrics bench-reading bench-cluster \
        bench-separation bench-note-level train-lead eval-lead bench-lead-checks ablate-lead baseline-lead detect-lead prepare-lead \
        export-lead bench-lead \
        train-diffusion train-han sweep-diffusion-noise sweep-diffusion-layer sweep-diffusion-head sweep-diffusion-grid \
        recognise generate eval-diffusion export-diffusion bench-diffusion prepare-yourmt3 ablate-yourmt3 bench-segments \
        train-yourmt3 export-yourmt3 transcribe-yourmt3 eval-yourmt3 bench-decode test check format lock clean

help:  ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-22s %s\n", $$1, $$2}'

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "tutti needs Python 3.11, 3.12 or 3.13; say which with make PYTHON=python3.11"; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install -q --disable-pip-version-check \
		--require-hashes -r requirements-uv.txt
	$(PY) -m uv pip sync -q --python $(PY) --require-hashes requirements.txt
	@touch $@

setup: $(READY)  ## make .venv with the pinned packages

setup-bench: setup  ## add the peers that the benchmarks measure against
	$(PY) -m uv pip install -q --python $(PY) --no-deps --require-hashes -r requirements-bench.txt

doctor: setup  ## versions, device, disk, W&B mode and a verdict
	@$(PY) -m benchmarks.doctor

demo: setup  ## transcribe, score and train in front of your eyes, and write runs/demo/index.html
	@$(PY) -m benchmarks.demo $(ARGS)

transcribe: setup  ## AUDIO="song.wav 'two words.mp3' folder" OUT=folder: audio to MIDI
	@$(PY) -m lightweight_amt transcribe $(AUDIO) $(if $(OUT),-o "$(OUT)") $(ARGS)

corpus: setup  ## SIZE=tiny|small|full: render the embedded corpus
	@$(PY) -m common.corpus build $(SIZE) $(ARGS)

train-amt: setup  ## train the transcription branch (bf16 on a GPU), logged to W&B
	@$(PY) -m lightweight_amt fit $(ARGS)

train-amt-nano: setup  ## the same for the network of 9,631 parameters
	@$(PY) -m lightweight_amt fit --config lightweight_amt/configs/nano.yaml $(ARGS)

train-timbre: setup  ## train the timbre branch, which tells instruments apart
	@$(PY) -m lightweight_amt fit-timbre $(ARGS)

train-amt-smoke: setup  ## does training work here, and what do the networks cost: under 90 s on 2 cores
	@$(PY) -m benchmarks.smoke $(ARGS)

ablate-amt: setup  ## every row of the paper's tables with 3 seeds, beside its numbers; Ctrl-C and again: it goes on
	@$(PY) -m benchmarks.ablate amt $(ARGS)

ablate-timbre: setup  ## the same for the timbre branch
	@$(PY) -m benchmarks.ablate timbre $(ARGS)

export-amt: setup  ## CKPT=run.ckpt NAME=base: checkpoint to safetensors and ONNX
	@$(PY) -m lightweight_amt export $(CKPT) --name $(or $(NAME),base) $(ARGS)

eval-amt: setup  ## score the shipped weights on the corpus; DATASET=bach10 ROOT=folder: the paper's protocol
	@$(PY) -m $(if $(DATASET),lightweight_amt evaluate --dataset $(DATASET) --root "$(ROOT)",benchmarks.accuracy) $(ARGS)

bench-separation: setup  ## instruments told apart: purity, track F, their number, against simple rules
	@$(PY) -m benchmarks.separation $(ARGS)

bench-note-level: setup  ## notes against frames by timbre, the paper's Figure 5
	@$(PY) -m benchmarks.note_level $(ARGS)

detect-lead: setup  ## STEMS=folder OUT=folder: who leads when, from the stems of a song
	@$(PY) -m lead_detection detect $(STEMS) $(if $(OUT),-o "$(OUT)") $(ARGS)

train-lead: setup  ## train the lead detector on rendered ensembles (bf16 on a GPU), logged to W&B
	@$(PY) -m lead_detection fit $(ARGS)

export-lead: setup  ## CKPT=run.ckpt NAME=base: checkpoint to safetensors
	@$(PY) -m lead_detection export $(CKPT) --name $(or $(NAME),base) $(ARGS)

eval-lead: setup  ## score the shipped lead detector and simple rules on songs that it has not heard
	@$(PY) -m benchmarks.lead $(ARGS)

bench-lead-checks: setup  ## lead detection: what must be learnt before music, and the shipped one in use
	@$(PY) -m benchmarks.lead_checks $(ARGS)

ablate-lead: setup  ## the rows of the paper's tables on the lead corpus with 3 seeds; Ctrl-C and again: it goes on
	@$(PY) -m benchmarks.ablate lead $(ARGS)

baseline-lead: setup  ## ANNOTATIONS=clone MEDLEYDB=clone: what simple rules reach on MedleyDB's text files, no audio
	@$(PY) -m lead_detection baseline --annotations "$(ANNOTATIONS)" --medleydb "$(MEDLEYDB)" $(ARGS)

prepare-lead: setup  ## MEDLEYDB=audio ANNOTATIONS=clone METADATA=clone OUT=cache: decode once to 24 kHz
	@$(PY) -m lead_detection prepare --medleydb "$(MEDLEYDB)" --annotations "$(ANNOTATIONS)" \
		--metadata "$(METADATA)" $(if $(OUT),--out "$(OUT)") $(ARGS)

bench-lead: setup  ## lead detection: ragged batches against padded ones, speed and memory of training and detection
	@$(PY) -m benchmarks.speed.lead $(ARGS)

train-diffusion: setup  ## train a diffusion model of log-mels (of the size of the paper, bf16 on a GPU), logged to W&B
	@$(PY) -m diffusion_pir fit $(ARGS)

train-han: setup  ## train the convolutional network that the paper compares with
	@$(PY) -m diffusion_pir fit-han $(ARGS)

sweep-diffusion-noise sweep-diffusion-layer sweep-diffusion-head sweep-diffusion-grid: sweep-diffusion-%: setup
	@$(PY) -m diffusion_pir sweep benchmarks/sweeps/diffusion-$*.yaml $(ARGS)

sweep-diffusion-noise:  ## probe a trained diffusion model at every noise level; TINY=1: a sketch in two minutes
sweep-diffusion-layer:  ## the same for every layer
sweep-diffusion-head:  ## the same for every kind of head
sweep-diffusion-grid:  ## noise x layer x head x seed, all of them

recognise: setup  ## AUDIO="song.wav folder" OUT=folder: which instruments are heard above all, and when
	@$(PY) -m diffusion_pir recognise $(AUDIO) $(if $(OUT),-o "$(OUT)") $(ARGS)

generate: setup  ## PROMPT="saxophone, piano" OUT=folder: two seconds of them
	@$(PY) -m diffusion_pir generate "$(PROMPT)" $(if $(OUT),-o "$(OUT)") $(ARGS)

eval-diffusion: setup  ## score the shipped diffusion model's heads against the paper's recipe and the controls
	@$(PY) -m benchmarks.diffusion $(ARGS)

export-diffusion: setup  ## CKPT=run.ckpt NAME=small: checkpoint to safetensors
	@$(PY) -m diffusion_pir export $(CKPT) --name $(or $(NAME),small) $(ARGS)

bench-diffusion: setup  ## what stopping at a layer and taking all layers at once save
	@$(PY) -m benchmarks.speed.diffusion $(ARGS)

prepare-yourmt3: setup  ## decode the public data sets that training reads, see docs/datasets.md; ARGS="--only slakh"
	@$(PY) -m common.datasets yourmt3plus/configs/data/all_cross.yaml $(ARGS)

ablate-yourmt3: setup  ## encoders, rows, masks, mixing, pitch shift ... with 3 seeds; Ctrl-C and again: it goes on
	@$(PY) -m benchmarks.ablate yourmt3 $(ARGS)

bench-segments: setup  ## training segments of yourmt3plus that a core makes in a second
	@$(PY) -m benchmarks.speed.segments $(ARGS)

train-yourmt3: setup  ## train the multi-instrument transcriber (bf16 on a GPU), logged to W&B
	@$(PY) -m yourmt3plus fit $(ARGS)

export-yourmt3: setup  ## CKPT=run.ckpt NAME=small: checkpoint to safetensors
	@$(PY) -m yourmt3plus export $(CKPT) --name $(or $(NAME),small) $(ARGS)

transcribe-yourmt3: setup  ## AUDIO="song.wav folder" OUT=folder: MIDI with a track for each instrument
	@$(PY) -m yourmt3plus transcribe $(AUDIO) $(if $(OUT),-o "$(OUT)") $(ARGS)

eval-yourmt3: setup  ## score the shipped transcriber on the corpus; DATASET=slakh ROOT=folder: on a public data set
	@$(PY) -m benchmarks.yourmt3 $(if $(DATASET),--dataset $(DATASET) --root "$(ROOT)") $(ARGS)

bench-decode: setup  ## our decoder against transformers' generate, rows dropped when they end, fast path against plain
	@$(PY) -m benchmarks.speed.decoding $(ARGS)

bench-cqt: setup-bench  ## constant-Q transform against librosa and nnAudio
	@$(PY) -m benchmarks.speed.cqt $(ARGS)

bench-transcribe: setup-bench  ## transcription against Basic Pitch: time, memory, clock, accuracy
	@$(PY) -m benchmarks.speed.transcribe $(ARGS)

bench-amt: setup-bench  ## the transcription networks alone against Basic Pitch's
	@$(PY) -m benchmarks.speed.networks $(ARGS)

bench-metrics: setup  ## note and frame scores against mir_eval
	@$(PY) -m benchmarks.speed.metrics $(ARGS)

bench-reading: setup  ## random mixes from our memory map against FLAC
	@$(PY) -m benchmarks.speed.reading $(ARGS)

bench-cluster: setup  ## notes to tracks against dense spectral clustering, and K against silhouette, eigengap, HDBSCAN
	@$(PY) -m benchmarks.speed.cluster $(ARGS)

test: setup  ## the tests, at most 10 minutes on 2 cores
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

check: setup  ## format, lint, types and the import contract
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/pyright

format: setup  ## let ruff format and mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

COMPILE = $(PY) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" -q

lock: setup  ## resolve the requirements anew from pyproject.toml
	$(COMPILE) pyproject.toml --extra train --extra dev --no-emit-package pyaudio --override overrides.txt \
		-o requirements.txt
	echo uv | $(COMPILE) - -c requirements.txt -o requirements-uv.txt
	$(COMPILE) requirements-bench.in --no-deps -o requirements-bench.txt

clean:  ## remove the environment and the runs, not the data
	rm -rf $(VENV) $(RUNS)
