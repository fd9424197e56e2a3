# `make help` lists the targets. .ci/deps finds Go, also under sudo, and what is
# missing on a fresh machine.
SHELL := /bin/bash
PATH := $(shell .ci/deps path)
export PATH

PREFIX ?= /usr/local
BINDIR := $(DESTDIR)$(PREFIX)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PROGRAMS := $(notdir $(wildcard cmd/moorage cmd/moorage-agent cmd/moorage-shim))
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

# What makes containers needs root; sudo is used only if it asks nothing.
AS_ROOT = $(shell [ "$$(id -u)" = 0 ] || ! sudo -n true 2>/dev/null || echo sudo -n)

.PHONY: help build demo test bench lint install clean

help:
	@echo 'make build    the programs, in bin/'
	@echo 'make demo     a short MCP session against a real container; installs what is missing'
	@echo 'make test     every check and every test; TESTFLAGS and FUZZTIME as in .ci/test'
	@echo 'make bench    the benchmark, with what it compares with; BENCHFLAGS, as -short'
	@echo 'make lint     gofmt, vet, tidy and staticcheck only'
	@echo 'make install  the programs, in $$(DESTDIR)$$(PREFIX)/bin ($(BINDIR))'
	@echo 'make clean    removes bin/'

build:
	@.ci/deps build
	$(GOBUILD) -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

demo:
	@.ci/deps demo
	@$(MAKE) --no-print-directory build
	@$(AS_ROOT) bin/moorage demo

test:
	@.ci/deps test
	@$(MAKE) --no-print-directory build
	@.ci/test

lint:
	@.ci/deps build
	@.ci/test lint

bench:
	@.ci/deps bench
	@$(MAKE) --no-print-directory build
	$(GOBUILD) -o bin/ ./cmd/moorage-bench
	@cache=$$(.ci/deps cache) && $(AS_ROOT) env PATH="$$PATH:$$cache/ripgrep/usr/bin" MOORAGE_TEST_NODE=$$cache/node bin/moorage-bench $(BENCHFLAGS)

install:
	@[ -x bin/moorage ] || $(MAKE) --no-print-directory build
	install -d $(BINDIR)
	install -m 0755 $(addprefix bin/,$(PROGRAMS)) $(BINDIR)

clean:
	rm -rf bin
