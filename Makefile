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

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: build
build: ## build bin/keytrail
	go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/keytrail ./cmd/keytrail

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

.PHONY: bench
bench: build ## measure the figures of docs/bench.md, each against a reference
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
