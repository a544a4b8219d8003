# Every verb of the project. A target is at most three lines; logic lives in Go.
# Tools are pinned here and built by the go command, from its module cache.
BUF      := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
RELEASER := go run github.com/goreleaser/goreleaser/v2@v2.15.1
LINT     := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
SERVICES := listener processor stats relayctl
MODULES   = $(shell go list -m -f '{{.Dir}}')
PACKAGES  = $(addsuffix /...,$(MODULES))
SERVICE  ?= listener
export SEED RUNS FAULTS CHANGES RATE CLASSES POINTS STEPS UNTIL SHORT KEEP SHRINK RECORD MONGODB FUZZ_SECONDS GOVULNDB
export DEMO_SECONDS DEMO_RATE DEMO_KEEP DEMO_SEED DEMO_CHAOS DEMO_TWO_WAY WATCH_DIR
export PROCESSORS SOURCE_URI TARGET_URI

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## Show the main job on this machine: two MongoDBs, NATS, the services, live traffic
	@go run ./e2e/cmd/demo

.PHONY: watch
watch: ## Follow chaos runs of the demo in page, terminal and Prometheus, and compare them (RUNS, DEMO_SEED, WATCH_DIR)
	@go run ./e2e/cmd/watch

.PHONY: test
test: ## Run every test, with the race detector (MONGODB=uri: against that server)
	go test -race -shuffle=on -p 2 -timeout 60m work

.PHONY: test-web
test-web: ## Run the tests of the page in a headless Chromium (make test runs them too)
	go test -race -v -run '^TestPage' ./e2e

.PHONY: test-compose
test-compose: ## Run docker compose up for real and break it, on a Docker engine that is there or is started (dockerd)
	go test -v -count=1 -timeout 6h -tags compose ./e2e/compose

.PHONY: build
build: ## Build the binaries into bin/
	@mkdir -p bin
	go build -trimpath -o bin $(addprefix ./services/,$(SERVICES))

.PHONY: bench
bench: ## Measure speed and memory beside the ceilings of the same run
	@go run ./e2e/cmd/bench

.PHONY: chaos
chaos: ## Break the relay under load and judge it (SEED, RUNS, CHANGES, RATE, CLASSES, POINTS, STEPS, SHRINK, RECORD, KEEP)
	@go run ./e2e/cmd/chaos

.PHONY: soak
soak: ## Run a flow for two hours with a fault a minute, and look what grows (LASTS, RATE, EVERY, SEED)
	@go run ./e2e/cmd/soak

.PHONY: simulate
simulate: ## Run the whole flow in memory, seed after seed, until one breaks a promise (SEED, RUNS, FAULTS)
	@go run ./e2e/cmd/simulate

.PHONY: mutants
mutants: ## Plant bugs in a copy and look which test finds each (ARGS="-run name -parallel 2")
	@go run ./e2e/cmd/mutants $(ARGS)

.PHONY: lint
lint: ## Run all linters, and look for known vulnerabilities (GOVULNDB=file://copy: offline)
	$(LINT) run $(PACKAGES)
	cd proto && $(BUF) lint
	@go run ./e2e/cmd/vulns $(addprefix ./services/,$(SERVICES))

.PHONY: fmt
fmt: ## Format all code
	$(LINT) fmt $(PACKAGES)

.PHONY: tidy
tidy: ## Tidy every module and align their versions
	@for m in $(MODULES); do go -C $$m mod tidy || exit 1; done
	go work sync

.PHONY: generate
generate: ## Regenerate the protobuf code and the references in deploy
	cd proto && $(BUF) generate
	go test ./e2e/docs -run "Reference$$" -update

.PHONY: verify
verify: generate ## Fail if generated or tidied files differ, or a module does not build alone
	@for m in $(MODULES); do go -C $$m mod tidy -diff && GOWORK=off go -C $$m build ./... || exit 1; done
	go mod verify && git diff --exit-code

.PHONY: fuzz
fuzz: ## Fuzz what reads other people's bytes, FUZZ_SECONDS each (30)
	@go run ./e2e/cmd/fuzz

# The version that images and releases bear, and the date of whatever is made of a commit.
up image images archives: export RELAY_VERSION ?= $(shell git describe --tags --always --dirty)
up image images archives: export RELAY_REVISION ?= $(shell git rev-parse HEAD)
image images archives: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)

.PHONY: up down logs
up: ## Start everything with Docker compose and wait until it replicates
	docker compose up --build --wait
down: ## Stop what up started; volumes stay
	docker compose down
logs: ## Follow the services' logs
	docker compose logs --follow listener processor stats

.PHONY: image
image: ## Build the image of one service (SERVICE=listener)
	docker build -f deploy/Dockerfile --build-arg SERVICE=$(SERVICE) --build-arg VERSION=$(RELAY_VERSION) \
		--build-arg REVISION=$(RELAY_REVISION) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) -t atlas-relay/$(SERVICE) .

.PHONY: release archives images
release: archives images ## Build binaries, archives, SBOMs, checksums and images into dist/, and check them
archives: ## Build what release does without Docker
	GOWORK=off $(RELEASER) release --clean --parallelism 1 --skip=publish $(if $(shell git tag --points-at HEAD 'v*'),,--snapshot)
	@go run ./e2e/cmd/dist
images: archives ## Build the images of all services, and write them into dist/
	for service in $(SERVICES); do $(MAKE) image SERVICE=$$service || exit 1; done
	@go run ./e2e/cmd/dist $(SERVICES)
