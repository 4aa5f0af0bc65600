# Thin front to meson and tools/. `make demo` and `make check` start from a bare Debian 12.
.POSIX:
.PHONY: all demo check build bench clean install

ARGS =
# A second build at the same time is never wanted: ninja brings its own parallelism.
.NOTPARALLEL:

all: build

demo: setup-run build
	@build/cmd/causeway/causeway demo $(ARGS)

check: setup-tests
	@tests/run-all $(ARGS)

build: setup-run build/build.ninja
	@ninja -C build

bench: build
	@meson test -C build --benchmark --verbose --no-rebuild

install: build
	meson install -C build --no-rebuild

clean:
	rm -rf build build-check demo-out

.PHONY: setup-run setup-tests
setup-run:
	@tools/setup run

setup-tests:
	@tools/setup tests

build/build.ninja:
	@meson setup build -Dwerror=true
