# Lines: build, run, test, bench, fuzz, image.  "make help" lists the targets.

BUILD = build

# CC=gcc|clang; SAN=1: AddressSanitizer and UBSan; FAILPOINTS=1: with the
# directive lines_failpoint, for tests only.  Each combination has a directory
# of its own in BUILD.

ifneq ($(filter default undefined,$(origin CC)),)
CC = $(if $(SAN),clang,gcc)
endif

SAN =
FAILPOINTS =

VARIANT = $(notdir $(CC))$(if $(SAN),-san)$(if $(FAILPOINTS),-failpoints)
DIR     = $(abspath $(BUILD))/$(VARIANT)
MODULE  = $(DIR)/ngx_http_lines_module.so

# The tree to build with: Debian's nginx-dev, or the full source of any nginx
# (NGINX_SRC=... NGINX_CONFIGURE="--with-compat ...", NGINX=its binary).

NGINX_SRC       = /usr/share/nginx/src
NGINX_CONFIGURE = --with-compat
NGINX          := $(or $(shell PATH=$$PATH:/usr/sbin command -v nginx),nginx)

# -Wno-unused-parameter: a handler has the parameters that nginx gives it,
# whether it needs them or not.

WARNINGS  = -Wall -Wextra -Wpointer-arith -Wno-unused-parameter -Werror
CFLAGS    = -O2 -g
HARDENING = -fstack-protector-strong -Wformat -Werror=format-security \
            -D_FORTIFY_SOURCE=2
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
endif
endif

# No flag of these goes to configure: its tests decide what is in nginx'
# structures, and these must be as in the nginx that loads the module.

MODULE_CFLAGS  = -std=gnu11 -pipe $(CFLAGS) $(HARDENING) $(WARNINGS) \
                 -ffile-prefix-map=$(CURDIR)=. \
                 $(if $(FAILPOINTS),-DLINES_FAILPOINTS)
MODULE_LDFLAGS = $(LDFLAGS)

SOURCES = $(wildcard src/*.c src/*/*.c)
HEADERS = $(wildcard src/*.h src/*/*.h)
SCRIPTS = $(wildcard src/store/scripts/*.lua src/store/scripts/lib/*.lua)

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
	   cksum < $(NGINX_SRC)/src/core/nginx.h; } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(DIR)/flags: FORCE
	@mkdir -p $(DIR)
	@echo '$(MODULE_CFLAGS) $(MODULE_LDFLAGS)' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(DIR)/nginx/objs/Makefile: config src/store/scripts/embed.sh $(DIR)/configured
	rm -rf $(DIR)/nginx
	cp -R $(NGINX_SRC)/. $(DIR)/nginx
	cd $(DIR)/nginx && bash -c ' \
	    NGX_CONF_FLAGS=(); if [ -f conf_flags ]; then . ./conf_flags; fi; \
	    ./configure "$${NGX_CONF_FLAGS[@]}" $(NGINX_CONFIGURE) \
	        --with-cc=$(CC) --add-dynamic-module=$(CURDIR)' > configure.log 2>&1 \
	    || { tail -n 20 configure.log; exit 1; }

$(MODULE): $(DIR)/nginx/objs/Makefile $(DIR)/flags $(SOURCES) $(HEADERS) $(SCRIPTS)
	@sh src/store/scripts/embed.sh src/store/scripts $(DIR)/nginx/objs/addon/lines
	@if [ $(DIR)/flags -nt $@ ]; then rm -f $(DIR)/nginx/objs/*.o $(DIR)/nginx/objs/addon/*/*.o; fi
	@$(MAKE) $(if $(V),,-s) --no-print-directory -C $(DIR)/nginx -f objs/Makefile modules \
	    CFLAGS='$(MODULE_CFLAGS)' LINK='$(CC) $(MODULE_LDFLAGS)'
	@cp $(DIR)/nginx/objs/ngx_http_lines_module.so $@

.PHONY: packages-build
packages-build:
	@true
