# Thin: every target calls meson and ninja or one program. `make help` lists them.
# Variables: BUILD (build folder), JOBS, OUT (JSON of what was measured); CI=1: warnings are errors.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.NOTPARALLEL:

BUILD ?= build
JOBS ?= $(shell nproc)
comma := ,
bench_dir = $(or $(DIR),$(BUILD)/data)
bench_peers = $(or $(PEERS),$(if $(SMALL),hnswlib$(comma)faiss-ivfpq,required))
out_flag = $(if $(OUT),--out $(OUT))
export PATH := $(CURDIR)/.deps/bin:$(PATH)

.PHONY: all setup run test cluster cluster-stop check check-asan check-ubsan check-tsan sim sim-mutants sim-disk crash interop \
	bad-input parity fuzz neon recall bench bench-data bench-index bench-tune bench-filter bench-stream bench-threads bench-batch bench-target bench-placement cover tidy format accept test-bare install library deb test-deb \
	clean help

all: setup ## build everything; the binary is build/quiver
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(if $(CI),-Dwerror=true)
	@ninja -C $(BUILD) -j $(JOBS)

setup: ## install what the build needs (apt, as root or with sudo); quick when it is there
	@tools/setup

run: all ## serve a real data set and search it [ONCE=1 stops after the table] [OUT=]
	@BUILD=$(BUILD) ONCE=$(ONCE) OUT=$(OUT) exec tools/run

test: ## set up, build, run every suite [SKIP=names]; writes build/test.json
	@tools/setup test interop cluster
	@tools/test_all --build $(BUILD) $(out_flag)

check: setup ## the unit tests, under 60 s
	@tools/test_all --build $(BUILD) --suite unit --within 60 $(out_flag)

check-asan: setup ## the unit tests under AddressSanitizer and UBSan [OUT=]
	@tools/test_all --sanitize asan --suite unit $(out_flag)

check-ubsan: ## the unit tests under clang's UBSan [OUT=]
	@tools/setup dev
	@tools/test_all --sanitize ubsan --suite unit $(out_flag)

check-tsan: setup ## the unit tests under ThreadSanitizer [OUT=]
	@tools/test_all --sanitize tsan --suite unit $(out_flag)

sim: all ## whole clusters in one process, with everything failing [FROM=1 COUNT=100 NODES=5 MINUTES=2 SECONDS= SEED= MOVES= OUT=]
	@$(BUILD)/test/sim/sim_cluster --from $(or $(FROM),1) --count $(or $(COUNT),100) --nodes $(or $(NODES),5) \
		--minutes $(or $(MINUTES),2) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(MOVES),--moves) $(out_flag)

sim-mutants: all ## planted mistakes, each found by a checker of the simulated cluster [ONLY=name] [OUT=]
	@tools/sim_mutants --build $(BUILD) $(if $(ONLY),--only $(ONLY)) $(out_flag)

sim-disk: all ## storage on a simulated disk that tears, loses and flips [FROM=1 COUNT=200 OUT=]
	@$(BUILD)/test/sim/sim_disk --from $(or $(FROM),1) --count $(or $(COUNT),200) $(out_flag)

cluster: all ## etcd, shard nodes and proxies as processes on this machine [NODES=4 PROXIES=2 ETCD=3 DIR=build/cluster OUT=]
	@tools/setup cluster
	@tools/cluster start --dir $(or $(DIR),$(BUILD)/cluster) --nodes $(or $(NODES),4) --proxies $(or $(PROXIES),2) \
		--etcd $(or $(ETCD),3) --binary $(BUILD)/quiver $(out_flag)

cluster-stop: ## ends what make cluster started [DIR=build/cluster]
	@tools/cluster stop --dir $(or $(DIR),$(BUILD)/cluster)

crash: all ## kill a server N times while it writes, check what it kept [N=10 SEED=1 MODE=default|scalar|binary OUT=]
	@tools/setup test
	@BUILD=$(BUILD) test/integration/crash --n $(or $(N),10) --seed $(or $(SEED),1) $(if $(MODE),--mode $(MODE)) $(out_flag)

interop: all ## the official npm clients, unmodified, against a server [OUT=]
	@tools/setup interop
	@BUILD=$(BUILD) test/interop/run $(out_flag)

bad-input: all ## malformed requests on every protocol: right answer, server alive [OUT=]
	@tools/setup test
	@BUILD=$(BUILD) test/integration/bad_input $(out_flag)

parity: all ## the same requests over REST and gRPC: same results, same errors [N=2000] [SEED=1] [OUT=]
	@tools/setup test
	@BUILD=$(BUILD) test/integration/parity --requests $(or $(N),2000) --seed $(or $(SEED),1) $(out_flag)

fuzz: setup ## fuzz the decoders [SECONDS=60 each] [TARGET=name] [OUT=]
	@tools/setup dev
	@tools/fuzz --seconds $(or $(SECONDS),60) $(if $(TARGET),--target $(TARGET)) $(out_flag)

neon: setup ## build for 64-bit ARM, run the kernels there or under qemu-aarch64 [OUT=]
	@tools/neon $(out_flag)

recall: all ## recall floors of the index
	@tools/test_all --build $(BUILD) --suite recall $(out_flag)

bench-data: ## write a benchmark's data set DATA=fashion|glove|sift DIR=build/data [SMALL=1] [OUT=]
	@tools/setup data data-$(or $(DATA),fashion)
	@tools/bench_data $(if $(SMALL),--small) --data $(or $(DATA),fashion) --dir $(or $(DIR),$(BUILD)/data) $(out_flag)

bench-index: all ## Quiver and other engines in turn on one core DATA= [DIR=] [PEERS=] [MODES=] [PAIRS=15] [SMALL=1] [FRESH=1] [LOCK=] [OUT=]
	@tools/setup data data-$(or $(DATA),fashion) bench
	@tools/bench_peers $(subst $(comma), ,$(bench_peers)) || true
	@tools/bench_index --build $(BUILD) --data $(or $(DATA),fashion) --dir $(or $(DIR),$(BUILD)/data) \
		--peers $(bench_peers) \
		--modes $(or $(MODES),default) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SMALL),--small) \
		$(if $(FRESH),--fresh) $(if $(LOCK),--lock $(LOCK)) $(out_flag)

bench-tune: all ## a curve for each knob of the graph DATA= [SMALL=1] [DIR=] OUT=
	@tools/setup data data-$(or $(DATA),glove) bench
	@tools/bench_tune --build $(BUILD) --data $(or $(DATA),glove) --dir $(or $(DIR),$(BUILD)/data) $(if $(SMALL),--small) $(out_flag)

bench-filter: all ## searches under filters DATA= [EF=64,200] [PAIRS=15] [QUERIES=5000] [DIR=] [OUT=]
	@tools/setup data data-$(or $(DATA),fashion)
	@tools/bench_data --data $(or $(DATA),fashion) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench filter --base $(bench_dir)/$(or $(DATA),fashion).base.fbin \
		--query $(bench_dir)/$(or $(DATA),fashion).query.fbin $(if $(filter glove,$(DATA)),--metric cosine) \
		--ef $(or $(EF),64,200) --pairs $(or $(PAIRS),15) --queries $(or $(QUERIES),5000) --threads 2 \
		--cache $(bench_dir) --json $(if $(OUT),>$(OUT))

bench-target: all ## a wanted recall: is it reached, how fast DATA=fashion|glove|sift [PAIRS=7] [DIR=] [OUT=]
	@tools/setup data data-$(or $(DATA),fashion)
	@tools/bench_data --data $(or $(DATA),fashion) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench target --base $(bench_dir)/$(or $(DATA),fashion).base.fbin \
		--query $(bench_dir)/$(or $(DATA),fashion).query.fbin \
		--gt $(bench_dir)/$(or $(DATA),fashion).gt.ibin $(if $(filter glove,$(DATA)),--metric cosine) \
		--pairs $(or $(PAIRS),7) --json $(if $(OUT),> $(OUT))

bench-placement: all ## the four placements: balance, movement, recall by shards visited [DATA=sift] [SHARDS=4,16,64] [DIR=] [PNG=] [OUT=]
	@tools/setup data data-$(or $(DATA),sift)
	@tools/bench_data --data $(or $(DATA),sift) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench placement --data $(bench_dir) --set $(or $(DATA),sift) \
		$(if $(filter glove,$(DATA)),--metric cosine) --shards $(or $(SHARDS),4$(comma)16$(comma)64) \
		$(if $(PNG),--png $(PNG)) --json $(if $(OUT),> $(OUT))

bench-batch: all ## searches in turns on one thread against one after the other [DATA=sift] [EF=76] [PAIRS=15] [DIR=] [OUT=]
	@tools/setup data data-$(or $(DATA),sift)
	@tools/bench_data --data $(or $(DATA),sift) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench batch --base $(bench_dir)/$(or $(DATA),sift).base.fbin \
		--query $(bench_dir)/$(or $(DATA),sift).query.fbin --gt $(bench_dir)/$(or $(DATA),sift).gt.ibin \
		$(if $(filter glove,$(DATA)),--metric cosine) --ef $(or $(EF),76) --pairs $(or $(PAIRS),15) \
		--json $(if $(OUT),>$(OUT))

bench-stream: all ## rows replaced under search DATA= [ROUNDS=10] [N=] [DIR=] [OUT=]
	@tools/setup data data-$(or $(DATA),sift)
	@tools/bench_data --data $(or $(DATA),sift) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench stream --base $(bench_dir)/$(or $(DATA),sift).base.fbin \
		--query $(bench_dir)/$(or $(DATA),sift).query.fbin $(if $(filter glove,$(DATA)),--metric cosine) \
		--rounds $(or $(ROUNDS),10) $(if $(N),--n $(N)) --json $(if $(OUT),>$(OUT))

bench-threads: all ## two threads on one graph against two processes [DATA=sift] [PAIRS=15] [DIR=] [OUT=]
	@tools/setup data data-$(or $(DATA),sift)
	@tools/bench_data --data $(or $(DATA),sift) --dir $(bench_dir) >/dev/null
	@$(BUILD)/quiver bench threads --base $(bench_dir)/$(or $(DATA),sift).base.fbin \
		--query $(bench_dir)/$(or $(DATA),sift).query.fbin $(if $(filter glove,$(DATA)),--metric cosine) \
		--pairs $(or $(PAIRS),15) --json $(if $(OUT),>$(OUT))

bench: all ## the benchmark rows of the acceptance table [OUT=]
	@tools/accept --only 'bench-*' $(out_flag)

cover: setup ## line coverage of the unit tests: build-cover/coverage.html
	@tools/setup dev
	@tools/cover $(out_flag)

tidy: ## layers, sizes, banned calls, layout, static analysis
	@tools/setup dev
	@tools/tidy

format: ## lay out all C sources
	@tools/setup dev
	@git ls-files -z '*.c' '*.h' | xargs -0 clang-format-14 -i

accept: all ## what must hold and what falls short [ONLY=names] [OUT=]
	@tools/accept $(if $(ONLY),--only '$(ONLY)') $(out_flag)

install: all ## copy binary, libquiver, header, manual pages, unit [PREFIX=/usr/local LIBDIR= DESTDIR=]
	@tools/install --build $(BUILD) --prefix $(or $(PREFIX),/usr/local) \
		$(if $(LIBDIR),--libdir $(LIBDIR)) $(if $(DESTDIR),--destdir $(DESTDIR))

deb: all ## Debian packages quiver, libquiver0, libquiver-dev in build/deb [OUT=]
	@tools/setup deb
	@tools/deb --build $(BUILD) $(out_flag)

test-deb: all ## the packages in a bare Debian 12: installed, started, asked, upgraded, purged (as root) [OUT=]
	@tools/setup deb bare
	@tools/test_deb --build $(BUILD) $(out_flag)

library: all ## libquiver installed, linked both ways, its example under valgrind [OUT=]
	@tools/setup test
	@BUILD=$(BUILD) test/integration/library $(out_flag)

test-bare: ## `make run ONCE=1` and `make test` in a bare Debian 12 (as root) [OUT=]
	@tools/setup bare
	@tools/test_bare $(out_flag)

clean: ## remove build folders (not .deps/)
	rm -rf build build-asan build-ubsan build-tsan build-cover build-fuzz build-arm64

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
