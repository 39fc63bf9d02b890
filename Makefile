# Lines: build, run, test, bench, fuzz, image, package.  "make help" lists the targets.

BUILD = build

# make takes a space for the end of a name: it would build, and remove, elsewhere
ifneq ($(words $(CURDIR) $(BUILD)),2)
$(error the paths of the checkout and of BUILD must not contain spaces: "$(CURDIR)", "$(BUILD)")
endif

# CC=gcc|clang; SAN=1: AddressSanitizer and UBSan; FAILPOINTS=1: with the
# directive lines_failpoint, for tests only; COV=1: clang counts what runs.
# Each combination has a directory of its own in BUILD.

ifneq ($(filter default undefined,$(origin CC)),)
CC = $(if $(SAN),clang,gcc)
endif

SAN =
FAILPOINTS =
COV =

VARIANT = $(notdir $(CC))$(if $(SAN),-san)$(if $(COV),-cov)$(if $(FAILPOINTS),-failpoints)
DIR     = $(abspath $(BUILD))/$(VARIANT)
MODULE  = $(DIR)/ngx_http_lines_module.so

# As many compilers at a time as there are processors, whoever calls make; one
# that was called with -j, and those that it calls, share what it was given.

PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# The tree to build with: Debian's nginx-dev, or the full source of any nginx, a
# release or a checkout (NGINX_SRC=... NGINX_CONFIGURE="--with-compat ...").  It
# is copied, never written to.

NGINX_SRC       = /usr/share/nginx/src
NGINX_CONFIGURE = --with-compat

# -Wno-unused-parameter: a handler has the parameters that nginx gives it,
# whether it needs them or not.

WARNINGS  = -Wall -Wextra -Wpointer-arith -Wno-unused-parameter -Werror

# as nginx' own flags for it have
ifneq ($(findstring clang,$(CC)),)
WARNINGS += -Wconditional-uninitialized
endif

CFLAGS    = -O2 -g
HARDENING = -fstack-protector-strong -Wformat -Werror=format-security \
            -D_FORTIFY_SOURCE=2 $(GUARDS)

# What a machine has against a stack that is passed over, and against jumps to
# where none should be: of these flags, those that the compiler knows for it.

MACHINE := $(shell $(CC) -dumpmachine)
GUARDS  := $(foreach f,-fstack-clash-protection \
    $(if $(filter x86_64-% i%86-%,$(MACHINE)),-fcf-protection) \
    $(if $(filter aarch64-%,$(MACHINE)),-mbranch-protection=standard),\
    $(shell $(CC) -Werror $f -x c -c /dev/null -o /dev/null 2> /dev/null && echo $f))
LDFLAGS   = -Wl,-z,relro -Wl,-z,now

ifneq ($(SAN),)
CFLAGS    = -O1 -g -fno-omit-frame-pointer
HARDENING = -fsanitize=address,undefined
LDFLAGS  += -fsanitize=address,undefined

# nginx has an ngx_modules too, which wins over the module's: the sanitizer
# must not take the one for the other

ifneq ($(findstring clang,$(CC)),)
HARDENING += -fsanitize-address-use-odr-indicator
LDFLAGS   += -shared-libsan
else
# gcc's own manual: with sanitizers this warning is not to be relied upon
WARNINGS  += -Wno-maybe-uninitialized
endif
endif

# counters lie in a file from the start: who is killed has written them

ifneq ($(COV),)
CFLAGS    = -O1 -g -fprofile-instr-generate -fcoverage-mapping \
            -mllvm -runtime-counter-relocation
HARDENING =
LDFLAGS  += -fprofile-instr-generate
endif

# No flag of these goes to configure: its tests decide what is in nginx'
# structures, and these must be as in the nginx that loads the module.

MODULE_CFLAGS  = -std=gnu11 -pipe $(CFLAGS) $(HARDENING) $(WARNINGS) \
                 -ffile-prefix-map=$(CURDIR)=. \
                 $(if $(FAILPOINTS),-DLINES_FAILPOINTS)
MODULE_LDFLAGS = $(LDFLAGS) $(if $(FAILPOINTS),$(FAILING:%=-Wl,--wrap=%))

# with failpoints, what can fail when a test says so: t/module/allocation.c

FAILING = malloc calloc realloc strdup $(addprefix ngx_,palloc pcalloc pnalloc \
    alloc calloc create_pool pstrdup array_create array_push array_push_n \
    list_create list_push pool_cleanup_add http_cleanup_add alloc_chain_link \
    create_temp_buf chain_get_free_buf slab_alloc slab_alloc_locked \
    slab_calloc slab_calloc_locked http_subrequest http_send_header \
    http_output_filter http_complex_value)

# with failpoints, the tests' own modules are in the shared object

TEST_MODULE = $(if $(FAILPOINTS),$(wildcard t/module/*.c))

SOURCES = $(wildcard src/*.c src/*/*.c) $(TEST_MODULE)
HEADERS = $(wildcard src/*.h src/*/*.h)
EXPORTS = src/ngx_http_lines_module.map
SCRIPTS = $(wildcard src/store/scripts/*.lua src/store/scripts/lib/*.lua \
          src/store/schema src/store/commands src/store/moves \
          src/store/generate.awk)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

.PHONY: all module FORCE
FORCE:

all: packages-build
	@$(MAKE) --no-print-directory module

module: $(MODULE)
	@echo "$(MODULE:$(CURDIR)/%=%): for nginx $$(sed -n \
	    's/^#define NGINX_VERSION *"\(.*\)"/\1/p' $(DIR)/nginx/src/core/nginx.h), \
	signature $$(grep -ao '[0-9],[0-9],[0-9],[01]\{34,\}' $(MODULE) | head -n 1)"


# nginx' configure runs again when a source comes or goes and for another
# nginx; a change of flags builds all anew.

$(DIR)/configured: FORCE
	@mkdir -p $(DIR)
	@{ echo '$(sort $(SOURCES) $(HEADERS))'; \
	   echo '$(CC) $(NGINX_SRC) $(NGINX_CONFIGURE)'; \
	   find $(NGINX_SRC)/auto $(NGINX_SRC)/src -type f -print0 \
	       | sort -z | xargs -0 cat | cksum; } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(DIR)/flags: FORCE
	@mkdir -p $(DIR)
	@echo '$(MODULE_CFLAGS) $(MODULE_LDFLAGS)' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(DIR)/nginx/objs/Makefile: config $(EXPORTS) src/store/scripts/embed.sh $(DIR)/configured
	rm -rf $(DIR)/nginx && mkdir $(DIR)/nginx
	cd $(NGINX_SRC) && tar -cf - --exclude=./.git --exclude=./objs . | tar -C $(DIR)/nginx -xf -
	cd $(DIR)/nginx && bash -c ' \
	    NGX_CONF_FLAGS=(); if [ -f conf_flags ]; then . ./conf_flags; fi; \
	    configure=./configure; [ -f $$configure ] || configure=auto/configure; \
	    LINES_TEST_MODULE="$(TEST_MODULE:%=$(CURDIR)/%)" \
	    $$configure "$${NGX_CONF_FLAGS[@]}" $(NGINX_CONFIGURE) \
	        --with-cc=$(CC) --add-dynamic-module=$(CURDIR)' > configure.log 2>&1 \
	    || { tail -n 20 configure.log; exit 1; }

$(MODULE): $(DIR)/nginx/objs/Makefile $(DIR)/flags $(SOURCES) $(HEADERS) $(SCRIPTS)
	@sh src/store/scripts/embed.sh src/store/scripts $(DIR)/nginx/objs/addon/lines/store
	@if [ $(DIR)/flags -nt $@ ]; then rm -f $(DIR)/nginx/objs/*.o $(DIR)/nginx/objs/addon/*/*.o; fi
	@$(MAKE) $(if $(V),,-s) $(PARALLEL) --no-print-directory -C $(DIR)/nginx -f objs/Makefile modules \
	    CFLAGS='$(MODULE_CFLAGS)' LINK='$(CC) $(MODULE_LDFLAGS)'
	@cp $(DIR)/nginx/objs/ngx_http_lines_module.so $@.new && mv $@.new $@

# the nginx of that tree, for test-nginx

NGINX = $(DIR)/nginx/objs/nginx

$(NGINX): $(DIR)/nginx/objs/Makefile FORCE
	@$(MAKE) $(if $(V),,-s) --no-print-directory -j$(JOBS) -C $(DIR)/nginx -f objs/Makefile binary


# The demo

.PHONY: run up down audit
run up: packages-run
	@$(MAKE) --no-print-directory module
	@perl conf/demo/demo.pl $@ --dir $(abspath $(BUILD))/run --module $(MODULE) --docs $(DOCS)

down:
	@perl conf/demo/demo.pl down --dir $(abspath $(BUILD))/run

# a pass of the auditor over the demo that runs, and what it found

audit:
	@perl conf/demo/demo.pl audit --dir $(abspath $(BUILD))/run


# Tests: "make test" runs all of them against gcc's release build, and those of KINDRED
# against Redis over TLS, behind Sentinel and as a cluster; "make test-sanitized" all
# that reach what a sanitizer sees, against clang's sanitized build.  The other two pairs
# of compiler and kind: docker/bare.sh, step "pairs".
#
#   make prove TESTS=t/20-keys.t [CC=clang] [SAN=1]     a part by hand

TESTS   = t/*.t

# they wait more than they work: three at a time for each processor
JOBS   := $(shell expr 3 '*' $$(nproc))

# What takes longest comes first: nothing has to wait for it in the end.  But what
# builds, or tries everything, keeps a processor busy as long as it runs: one after
# another, among those that wait.
BUSY    = $(call some,01-source-tree 95-package 87-sim-engine 00-build 34-decide-logic \
          59-fuzz-short 00-generator)
LONG    = $(call some,72-compose-run 63-leases 38-lab 14-answers 37-crash-matrix 17-long-lists \
          39-paid-prism 35-paid-request 49-confirm-crashes 92-allocations 16-events 54-clerk-keys \
          89-audit-money 09-openapi 17-webhooks-attacked 65-limits-left 19-console-browser)
OTHERS  = $(filter-out $(BUSY) $(LONG),$(wildcard $(TESTS)))

some    = $(filter $(wildcard $(TESTS)),$(patsubst %,t/%.t,$1))
busy    = $(wordlist $1,$2,$(BUSY))
others  = $(wordlist $1,$2,$(OTHERS))
ORDERED = $(call busy,1,1) $(LONG) $(call busy,2,2) $(call others,1,25) \
          $(call busy,3,3) $(call others,26,50) $(call busy,4,4) $(call others,51,75) \
          $(call busy,5,5) $(call others,76,100) $(call busy,6,99) $(call others,101,9999)

PRELOAD = $(if $(SAN),$(if $(findstring clang,$(CC)),$(shell $(CC) \
    -print-file-name=libclang_rt.asan-$$(uname -m).so),$(shell $(CC) \
    -print-file-name=libasan.so):$(shell $(CC) -print-file-name=libubsan.so)))

# no test may hang: the harness' own limits are shorter than this one
LIMIT = 1200
GUARD = timeout -k 30 $(LIMIT) perl

.PHONY: test test-sanitized prove smoke
test: packages-test
	@echo "== builds"
	@$(MAKE) --no-print-directory $(PARALLEL) -O build-gcc build-gcc-failpoints
	@echo "== all tests: gcc, release"
	@$(MAKE) --no-print-directory CC=gcc SAN= prove
	@$(MAKE) --no-print-directory CC=gcc SAN= prove-kinds

test-sanitized: packages-test
	@echo "== builds: clang, sanitizers"
	@$(MAKE) --no-print-directory $(PARALLEL) -O build-clang-san build-clang-san-failpoints
	@echo "== tests: clang, sanitizers"
	@$(MAKE) --no-print-directory CC=clang SAN=1 prove TESTS='$(SANITIZED)'

# The scenarios of money, the kills and the auditor's are the engine's, which the simulator
# (t/87-sim-engine) runs sanitized, through many more of them; but the preview of a
# refund is a request's.  All of them: make CC=clang SAN=1 prove

SANITIZED = $(filter-out t/37-crash-matrix.t t/49-confirm-crashes.t t/88-money-% t/89-%,$(wildcard $(TESTS))) \
            $(wildcard t/88-money-refund.t)

# several at once: most of a build is configure, which uses one processor.
# The one with failpoints comes after the one without, as most of its objects
# are the same: they are compiled once, where ccache is.

BUILDS = $(addprefix build-,gcc gcc-failpoints clang-san clang-san-failpoints clang gcc-san)

$(BUILDS): export PATH := /usr/lib/ccache:$(PATH)
$(BUILDS): export CCACHE_DIR = $(abspath $(BUILD))/ccache
$(BUILDS): export CCACHE_NOHASHDIR = 1

.PHONY: $(BUILDS)
build-gcc-failpoints: build-gcc
build-clang-san-failpoints: build-clang-san
$(BUILDS): build-%:
	@$(MAKE) --no-print-directory CC=$(firstword $(subst -, ,$*)) SAN=$(if $(findstring -san,$*),1) \
	    FAILPOINTS=$(if $(findstring -failpoints,$*),1) module

# what make was told is for this build, not for those that tests make

PROVE = env $(foreach v,MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL \
                        CC SAN FAILPOINTS COV BUILD TESTS,-u $v) \
    LINES_BUILD=$(abspath $(BUILD)) LINES_MODULE=$(MODULE) \
    LINES_MODULE_FAILPOINTS=$(DIR)-failpoints/ngx_http_lines_module.so \
    LINES_PRELOAD=$(PRELOAD) \
    prove --exec '$(GUARD)' --statefile $(DIR)/$@

# A machine that checks commits is shared: there, and there only, what failed
# among the others runs once more, alone, and the output names it.

AGAIN = || { echo "== once more, alone:" $$($(PROVE) --state failed --dry); \
    $(PROVE) --state failed < /dev/null; }

PROVED = rm -f $(DIR)/$@ && { $(PROVE) -j$(JOBS) --state save $(ORDERED) < /dev/null $(if $(CI),$(AGAIN)); }

prove: module
	@$(MAKE) --no-print-directory FAILPOINTS=1 module
	@$(PROVED)

# lines, the operator, paid requests, confirms, numbers, limits: what is stored, once for each kind of Redis

KINDS   = tls sentinel cluster
KINDRED = t/21-line-requests.t t/23-admin.t t/35-paid-request.t t/42-confirm.t \
          t/47-inventory.t t/62-limits.t

.PHONY: prove-kinds $(KINDS:%=prove-%)
prove-kinds: module
	@$(MAKE) --no-print-directory FAILPOINTS=1 module
	@$(MAKE) --no-print-directory -j$(words $(KINDS)) -O JOBS=2 TESTS='$(KINDRED)' $(KINDS:%=prove-%)

$(KINDS:%=prove-%): prove-%:
	@echo "== some tests: $(notdir $(DIR)), Redis: $*"
	@export LINES_TEST_REDIS=$*; $(PROVED)

smoke: module
	@$(PROVE) t/00-smoke.t < /dev/null

# Between edits: both compilers, the pure logic, the generator, who knows whom,
# and each endpoint once.

CHECKED = t/00-smoke.t t/00-generator.t t/00-rooms.t t/09-openapi.t \
          t/32-stripe-logic.t t/42-preview-token.t \
          t/50-token-logic.t t/60-limit-logic.t

.PHONY: check
check:
	@$(MAKE) --no-print-directory CC=clang module
	@$(MAKE) --no-print-directory CC=gcc module
	@$(MAKE) --no-print-directory CC=gcc FAILPOINTS=1 module
	@$(MAKE) --no-print-directory CC=gcc prove TESTS='$(CHECKED)'

# Against another nginx: built from the same tree as the module, in a directory
# of its own.  For the tests the nginx is LINES_NGINX, else the one in PATH.

ANOTHER = --with-compat --with-debug --with-threads --with-pcre-jit \
          $(foreach m,ssl v2 realip addition auth_request gunzip gzip_static \
                      slice stub_status sub $(if $(wildcard $(NGINX_SRC)/src/http/v3),v3),--with-http_$m_module)

.PHONY: test-nginx prove-nginx
test-nginx: packages-test
	@if [ '$(origin NGINX_SRC)' = file ]; then \
	    echo 'usage: make test-nginx NGINX_SRC=/path/to/nginx' >&2; exit 2; fi
	@$(MAKE) --no-print-directory BUILD=$(abspath $(BUILD))/nginx NGINX_CONFIGURE='$(ANOTHER) \
	    $(if $(filter file,$(origin NGINX_CONFIGURE)),,$(NGINX_CONFIGURE))' prove-nginx

prove-nginx: $(NGINX)
	@LINES_NGINX=$(NGINX) LINES_NGINX_SOURCE=$(abspath $(NGINX_SRC)) \
	    $(MAKE) --no-print-directory prove

# the long forms of what the tests do briefly

.PHONY: chaos kills lab sim fuzz bench bench-long bench-hostile image coverage
chaos: packages-test
	@LINES_CHAOS_SECONDS=$(or $(SECONDS),1800) $(MAKE) --no-print-directory CC=clang SAN=1 \
	    LIMIT=$$((1200 + 2 * $(or $(SECONDS),1800))) prove TESTS='$(wildcard t/*-chaos*.t)'

# each scenario of money, with a kill at each of its steps: an hour; SECONDS=600 or PART=1/8 for a part of them
kills: packages-test
	@$(MAKE) --no-print-directory CC=gcc SAN= FAILPOINTS=1 module
	@LINES_BUILD=$(abspath $(BUILD)) LINES_KILLS=$(ALL:%=all) \
	    LINES_MODULE_FAILPOINTS=$(abspath $(BUILD))/gcc-failpoints/ngx_http_lines_module.so \
	    perl t/kills.pl --jobs $(JOBS) $(SECONDS:%=--seconds %) $(SEED:%=--seed %) $(PART:%=--part %) \
	    $(filter t/88-money-%,$(wildcard $(TESTS)))

# Redis fails over while clients go on: behind Sentinels and as a cluster, and once without replicas=; KIND=, FAILOVERS=, SEED=,
# FAULTS=kill,hang for one of them, SLOTS=300 for a part of the slots
LABS = $(if $(KIND),$(KIND):$(or $(REPLICAS),1),sentinel:1 cluster:1 sentinel:0)
lab: packages-test
	@$(MAKE) --no-print-directory CC=gcc SAN= module
	@status=0; for lab in $(LABS); do \
	    LINES_BUILD=$(abspath $(BUILD)) LINES_MODULE=$(abspath $(BUILD))/gcc/ngx_http_lines_module.so \
	    perl t/lab.pl --kind $${lab%:*} --replicas $${lab#*:} $(FAILOVERS:%=--failovers %) $(SEED:%=--seed %) $(FAULTS:%=--faults %) \
	        $(SLOTS:%=--slots %) || status=1; \
	done; exit $$status

# no sanitizer: ten million steps in minutes; a seed that fails says how to see it
sim: packages-test
	@$(MAKE) --no-print-directory CC=gcc SAN= module
	@$(MAKE) $(if $(V),,-s) --no-print-directory -C t/sim BUILD=$(abspath $(BUILD)) CC=gcc \
	    LINES_NGINX_OBJS=$(abspath $(BUILD))/gcc/nginx/objs
	$(abspath $(BUILD))/sim/engine --seed $(or $(SEED),1) --steps $(or $(STEPS),10000000)

# each parser, then nginx as a whole, and each allocation of each endpoint
fuzz: packages-test
	@$(MAKE) --no-print-directory -C t/fuzz BUILD=$(abspath $(BUILD)) \
	    FUZZ_SECONDS=$(or $(SECONDS),60) run
	@LINES_FUZZ_SECONDS=$(or $(SECONDS),60) LINES_ALLOC=all $(MAKE) --no-print-directory CC=clang SAN=1 \
	    LIMIT=$$((9000 + 2 * $(or $(SECONDS),60))) prove TESTS='t/92-fuzz-nginx.t t/92-allocations.t'

# what of src/ the tests run, file by file: TESTS='t/2*.t t/4*.t' for a part of them

COVERAGE = $(abspath $(BUILD))/coverage

coverage: packages-test
	@rm -rf $(COVERAGE) && mkdir -p $(COVERAGE)
	@$(MAKE) --no-print-directory CC=clang SAN= COV=1 module
	@$(MAKE) --no-print-directory CC=clang SAN= COV=1 FAILPOINTS=1 module
	-@LLVM_PROFILE_FILE=$(COVERAGE)/%4m%c.profraw $(MAKE) --no-print-directory CC=clang SAN= COV=1 prove
	@sh t/coverage.sh $(COVERAGE) $(abspath $(BUILD))/clang-cov/ngx_http_lines_module.so \
	    $(abspath $(BUILD))/clang-cov-failpoints/ngx_http_lines_module.so

# Lines beside others, and what it must reach: ten minutes; bench-long: more rounds, a million lines, ten million requests.
# ROUNDS=5 SECONDS=2 ONLY='read|lua' for others; LINES_MODULE_BEFORE=another.so, side by side.

bench bench-long: packages-bench
	@$(MAKE) --no-print-directory CC=gcc SAN= module
	@LINES_BUILD=$(abspath $(BUILD)) LINES_MODULE=$(abspath $(BUILD))/gcc/ngx_http_lines_module.so \
	    perl t/bench/bench.pl $(if $(filter bench-long,$@),--long --rounds $(or $(ROUNDS),7) --seconds $(or $(SECONDS),3),$(ROUNDS:%=--rounds %) $(SECONDS:%=--seconds %)) \
	    $(if $(ONLY),--only '$(ONLY)')

# an honest tenant among hostile ones: 30,000 requests a second to one worker

bench-hostile: packages-test
	@$(MAKE) --no-print-directory CC=gcc SAN= module
	@LINES_BUILD=$(abspath $(BUILD)) LINES_MODULE=$(abspath $(BUILD))/gcc/ngx_http_lines_module.so \
	    perl t/bench/hostile.pl $(SECONDS)

# the dashboard, drawn of what Prometheus recorded of a node under test: build/dashboard.svg; t/dashboard.pl draws that of yours

.PHONY: dashboard
dashboard: packages-test
	@$(MAKE) --no-print-directory CC=gcc SAN= TESTS=t/66-dashboard.t prove
	@echo $(abspath $(BUILD))/dashboard.svg

image:
	@sh docker/image.sh $(abspath $(BUILD))

# one page of the client's API, for lines_docs, package and image: what npm has makes it, and is not in it

DOCS = $(abspath $(BUILD))/docs/api.html

.PHONY: docs
docs:
	@sh t/node/install.sh $(BUILD) conf/api redoc
	@node conf/api/docs.mjs $(abspath $(BUILD))/redoc conf/api/openapi.yaml $(DOCS)
	@echo $(DOCS)

# the package for the Debian that this is

.PHONY: deb
deb: packages-deb
	@sh docker/deb.sh $(abspath $(BUILD))

# Bare Debian roots in which a checkout is all there is: docker/bare.sh.  What
# they have proven of a release, test-bare does not prove again.

.PHONY: test-debian12 test-debian13 prove-debian13 test-arm64 test-bare
test-debian12:
	@sh docker/bare.sh $(abspath $(BUILD)) bookworm demo package

test-debian13:
	@sh docker/bare.sh $(abspath $(BUILD)) trixie demo package

prove-debian13:
	@sh docker/bare.sh $(abspath $(BUILD)) trixie sanitized valkey

test-arm64:
	@sh docker/bare.sh $(abspath $(BUILD)) bookworm arm64

test-bare:
	@sh docker/bare.sh $(abspath $(BUILD)) bookworm 'demo?' 'package?' test sanitized
	@sh docker/bare.sh $(abspath $(BUILD)) trixie 'demo?' 'package?' 'pairs?' test 'sanitized?' 'valkey?'


.PHONY: packages-build packages-run packages-deb packages-test packages-bench install-deps clean help
packages-build:
	@sh conf/packages.sh build

packages-run:
	@sh conf/packages.sh build run

packages-deb:
	@sh conf/packages.sh build deb

packages-test:
	@sh conf/packages.sh build run test

packages-bench install-deps:
	@sh conf/packages.sh build run test bench

clean:
	@perl conf/demo/demo.pl down --dir $(abspath $(BUILD))/run 2>/dev/null || true
	rm -rf $(BUILD)

help:
	@echo 'make               build the module for the nginx that is installed'
	@echo 'make run           build, and run the demo; Ctrl-C ends it'
	@echo 'make up, down      the same in the background'
	@echo 'make audit         what disagrees in the demo, between Redis and billing'
	@echo 'make test          all tests'
	@echo 'make test-sanitized  those that reach what a sanitizer sees, against such a build'
	@echo 'make check         between edits: two minutes'
	@echo 'make prove         some tests: make prove TESTS=t/20-keys.t CC=clang SAN=1'
	@echo 'make test-nginx    the same against the nginx of NGINX_SRC=..., built for it'
	@echo 'make kills         each scenario of money, a kill at each of its steps: SECONDS=600 SEED=1 PART=1/8 JOBS=3 ALL=1'
	@echo 'make lab           Redis fails over in all ways under load, then the judge: KIND=sentinel|cluster FAILOVERS=20 SEED=1 REPLICAS=1'
	@echo 'make sim           ten million steps of the engine among faults: SEED=1 STEPS=10000000'
	@echo 'make coverage      what of src/ the tests run, file by file: TESTS=...'
	@echo 'make bench-hostile what an honest tenant has under a hostile load: SECONDS=10 (t/bench/README.md)'
	@echo 'make docs          the page of the API that lines_docs serves: build/docs/api.html (npm)'
	@echo 'make deb           libnginx-mod-http-lines for the Debian that this is, in build/deb'
	@echo 'make bench         beside nginx alone, Lua and fastify: ten minutes; ROUNDS=3 SECONDS=1 ONLY=read (t/bench/README.md)'
	@echo 'make bench-long    the rest: a million lines, ten million requests, more rounds'
	@echo 'make dashboard     conf/grafana/lines.json drawn of what Prometheus recorded: build/dashboard.svg'
	@echo 'make fuzz, chaos, image, test-debian12, test-debian13, prove-debian13, test-arm64, test-bare'
	@echo 'make install-deps  install all that these need; clean  remove the build'
	@echo 'BUILD=build CC=gcc|clang SAN=1 FAILPOINTS=1 NGINX_SRC=... LINES_PORT=8080 LINES_NGINX=nginx'
