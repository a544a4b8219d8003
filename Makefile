# Every verb of the project. A target is at most three lines; logic lives in Go.
# Tools are pinned here and built by the go command, from its module cache.
BUF      := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
RELEASER := go run github.com/goreleaser/goreleaser/v2@v2.15.1
LINT     := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
SERVICES := listener processor stats relayctl
MODULES   = $(shell go list -m -f '{{.Dir}}')
PACKAGES  = $(addsuffix /...,$(MODULES))
SERVICE  ?= listener
export MONGODB DEMO_SECONDS DEMO_RATE DEMO_KEEP DEMO_SEED DEMO_CHAOS DEMO_TWO_WAY PROCESSORS SOURCE_URI TARGET_URI

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## Show the main job on this machine: two MongoDBs, NATS, the services, live traffic
	@go run ./e2e/cmd/demo

.PHONY: test
test: ## Run every test, with the race detector (MONGODB=uri: against that server)
	go test -race -shuffle=on -p 2 -timeout 60m work

.PHONY: test-web
test-web: ## Run the tests of the page in a headless Chromium (make test runs them too)
	go test -race -v -run '^TestPage' ./e2e

.PHONY: build
build: ## Build the binaries into bin/
	@mkdir -p bin
	go build -trimpath -o bin $(addprefix ./services/,$(SERVICES))

.PHONY: bench
bench: ## Measure speed and memory beside the ceilings of the same run
	@go run ./e2e/cmd/bench

.PHONY: lint
lint: ## Run all linters
	$(LINT) run $(PACKAGES)
	cd proto && $(BUF) lint

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
	git diff --exit-code

.PHONY: fuzz
fuzz: ## Fuzz codec, keys and subjects, 30 s each
	@for f in Parse Decode Subject Key; do go test ./pkg/event -run - -fuzz "^Fuzz$$f$$" -fuzztime 30s || exit 1; done

.PHONY: up down logs
up: ## Start everything with Docker compose and wait until it replicates
	docker compose up --build --wait
down: ## Stop what up started; volumes stay
	docker compose down
logs: ## Follow the services' logs
	docker compose logs --follow listener processor stats

.PHONY: image
image: ## Build the image of one service (SERVICE=listener)
	docker build -f deploy/Dockerfile --build-arg SERVICE=$(SERVICE) -t atlas-relay/$(SERVICE) .

.PHONY: release
release: ## Build binaries, archives, SBOMs, checksums and images into dist/ (RELEASE_SKIP=docker: no images)
	GOWORK=off $(RELEASER) release --clean $(if $(shell git tag --points-at HEAD 'v*'),,--snapshot) --skip=publish$(if $(RELEASE_SKIP),$(comma)$(RELEASE_SKIP))
