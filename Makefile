# Thin front to meson and tools/. `make demo` and `make check` start from a bare Debian 12.
.POSIX:
.PHONY: all demo check build bench sim deb clean install

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

# The TURN server core against its model, for as long as there is time, from a new seed.
# Half of it in small worlds, where odd things meet; half with so many clients in one.
MINUTES = 10
CLIENTS = 3000
sim:
	@test -d build-check || meson setup build-check -Db_sanitize=address,undefined -Dwerror=true
	@ninja -C build-check tests/sim/turn_sim
	@build-check/tests/sim/turn_sim --seconds $$(($(MINUTES) * 30)) --seed $$(date +%s)
	@build-check/tests/sim/turn_sim --seconds $$(($(MINUTES) * 30)) --seed $$(date +%s) \
	    --clients $(CLIENTS)

# Debian packages of this tree, in build-deb/.
deb:
	@tools/deb

install: build
	meson install -C build --no-rebuild

clean:
	rm -rf build build-check build-deb demo-out

.PHONY: setup-run setup-tests
setup-run:
	@tools/setup run

setup-tests:
	@tools/setup tests

build/build.ninja:
	@meson setup build -Dwerror=true
