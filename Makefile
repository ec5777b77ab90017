# Everything a fresh clone needs is Go 1.26, git, make and a C++ compiler (DuckDB
# is linked). Modules come through the Go module proxy; tools are built from
# source into .cache/bin.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# The version is stamped here and not by the go command: its own stamping stops
# the build where git refuses to read the clone, as it does in containers.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

# Lambda runs the functions on x86-64: DuckDB, in analyze, links statically there
# only. lambda.norpc leaves out what Lambda's old Go runtime needed.
LAMBDA_GO    := GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false
LAMBDA_FLAGS := -tags lambda.norpc -ldflags '-s -w'
DUCKDB_FLAGS := -tags netgo,osusergo,lambda.norpc -ldflags '-s -w -linkmode external -extldflags "-static"'

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)

VENV_AWS := .cache/venv-aws

.PHONY: build
build: ## build bin/keytrail
	go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/keytrail ./cmd/keytrail

.PHONY: functions
functions: ## build the Lambda functions, as they are deployed, into .cache/functions
	for f in Ingest Analyze Notify Doctor Backfill; do \
	  $(MAKE) --no-print-directory build-$${f}Function ARTIFACTS_DIR=.cache/functions/$${f,}; \
	done

# What `sam build` calls for each function of template.yaml; it sets ARTIFACTS_DIR.
.PHONY: build-IngestFunction build-AnalyzeFunction build-NotifyFunction build-DoctorFunction build-BackfillFunction
build-IngestFunction:
	CGO_ENABLED=0 $(LAMBDA_GO) $(LAMBDA_FLAGS) -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/ingest
build-NotifyFunction:
	CGO_ENABLED=0 $(LAMBDA_GO) $(LAMBDA_FLAGS) -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/notify
build-DoctorFunction:
	CGO_ENABLED=0 $(LAMBDA_GO) $(LAMBDA_FLAGS) -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/doctor
build-BackfillFunction:
	CGO_ENABLED=0 $(LAMBDA_GO) $(LAMBDA_FLAGS) -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/backfill
# Nothing of Lambda's own libraries is used: they are older than what DuckDB needs.
build-AnalyzeFunction:
	CGO_ENABLED=1 $(LAMBDA_GO) $(DUCKDB_FLAGS) -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/analyze

.PHONY: replay
replay: build ## replay the incident in fixtures/ and print what it finds
	bin/keytrail replay --config fixtures/incident/keytrail.yaml fixtures/incident

.PHONY: test
test: ## run all tests
	go test -timeout 30m ./...

.PHONY: lint
lint: $(GOLANGCI) ## vet and lint
	go vet ./...
	GOLANGCI_LINT_CACHE=$(CURDIR)/.cache/golangci-lint $(GOLANGCI) run ./...

.PHONY: template
template: build $(VENV_AWS)/.installed ## check template.yaml and infra/ with sam, cfn-lint and an emulated AWS
	$(VENV_AWS)/bin/python -B infra/check/lane.py

.PHONY: stack
stack: build functions ## run the stack on this machine: the real functions, emulated services, Slack in the browser
	go run ./cmd/stack

.PHONY: e2e
e2e: functions $(VENV_AWS)/.installed ## test the functions that would be deployed, and the adapters, on emulated services
	go run ./cmd/stack exec go test -tags e2e -count=1 -timeout 20m -run 'Moto|E2E|Emulated' ./analyzer/cloud/awssdk ./analyzer/store/table
	KEYTRAIL_CALLS=$(CURDIR)/.cache/calls go test -tags e2e -p 1 -count=1 -timeout 60m ./internal/localstack ./cmd/stack
	$(VENV_AWS)/bin/python -B infra/check/lane.py --only-iam --iam .cache/calls/calls.json --names .cache/calls/names.json

.PHONY: trino
trino: ## compare hunts on a real Trino (needs JDK 25 and Maven) with those on DuckDB
	infra/trino/run.sh

.PHONY: bench
bench: build functions ## measure the figures of docs/bench.md, each against a reference
	go run ./cmd/bench

.PHONY: format
format: $(GOLANGCI) ## format all Go files
	$(GOLANGCI) fmt ./...

.PHONY: clean
clean: ## remove what was built; the tools in .cache stay
	rm -rf bin

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

# Built once for each version. CGO_ENABLED=0, because it needs no C.
$(GOLANGCI):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/.cache/bin GOFLAGS= CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .cache/bin/golangci-lint $@

# The AWS tools, for `make template` only.
$(VENV_AWS)/.installed: infra/check/requirements.txt infra/check/constraints.txt
	python3 -m venv $(VENV_AWS)
	$(VENV_AWS)/bin/pip install --quiet --disable-pip-version-check -r infra/check/requirements.txt -c infra/check/constraints.txt
	touch $@
