# The two commands are `make demo` and `make test`: both install what they need from Debian, and both need root, because
# they make network namespaces with WireGuard interfaces in them.

BUILD_PACKAGES = build-essential pkg-config libpam0g-dev
DEMO_PACKAGES  = $(BUILD_PACKAGES) ca-certificates iproute2 iputils-ping libpam-modules nftables oathtool openssh-client procps \
                 util-linux wireguard-go wireguard-tools
TEST_PACKAGES  = $(DEMO_PACKAGES) debhelper faketime fish gir1.2-nm-1.0 man-db ncat openssh-server pamtester python3-gi sudo \
                 systemd zsh
TEST_KERNEL_PACKAGES = $(TEST_PACKAGES) busybox-static cpio kmod qemu-system-x86
# the modules of others in the recipes of doc/pam.md
PAM_PACKAGES   = libpam-google-authenticator libpam-oath libpam-radius-auth
TEST_SYSTEM_PACKAGES = e2fsprogs mmdebstrap qemu-system-x86
DEB_PACKAGES   = $(BUILD_PACKAGES) debhelper lintian
BENCH_PACKAGES = $(DEMO_PACKAGES) libpam-google-authenticator ncat openssh-server

export PATH := $(PATH):$(HOME)/.cargo/bin
TARGET = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.NOTPARALLEL:
.PHONY: demo test test-long test-kernel test-system bench deb install uninstall programs build check deny root
.PHONY: demo-packages test-packages test-kernel-packages test-system-packages bench-packages deb-packages

demo: demo-packages
	cargo build --release --locked
	tests/demo $(TARGET)/release

# Most of the time the tests wait: for deadlines, and for strangers to ask again. So more of them run than there are cores.
test: test-packages check build
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --workspace --locked --no-fail-fast
	@if cargo deny --version >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; \
	else echo "make: cargo-deny is not installed, so licences and advisories are not checked: make deny"; fi

# what takes minutes: pings through tunnels whose keys change all the while
test-long: test-packages build
	cargo test --package wgmfa-tests --test system --locked -- --ignored --show-output --test-threads=2 long_runs

# The tests that matter most, on the WireGuard of Debian's kernel, in a virtual machine. The programs are those of `build`,
# and the tests those of `test`: for two packages alone cargo would build the crates below them anew, with fewer features.
test-kernel: test-kernel-packages build
	tests/kernel $(TARGET)/kernel tests/on-kernel $$(cargo test --workspace --locked --no-run --message-format=json 2>/dev/null | \
		sed -n 's/.*"manifest_path":"[^"]*\/\(wireguard\|tests\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\2/p')

# The packages of `deb` on a whole Debian 12 with systemd, in a virtual machine: installed, used, rebooted, upgraded, purged
test-system: test-system-packages deb
	packaging/deb --built $(TARGET)/$(PROFILE) --to $(TARGET)/machine/later \
		--version "$$(dpkg-parsechangelog --file packaging/debian/changelog --show-field Version)+later"
	tests/machine/image $(TARGET)/machine
	tests/machine/run $(TARGET)/machine $(TARGET)/deb $(TARGET)/machine/later

# fails when a bound of benches/README.md is missed
bench: bench-packages
	cargo build --release --locked
	cargo bench --package wgmfa-benches --locked --no-fail-fast

# Debian packages in target/deb, looked over by lintian. DEB_VERSION= gives them another version than the changelog does,
# PROFILE=debug takes the programs of the tests.
PROFILE = release
deb: deb-packages programs
	packaging/deb --built $(TARGET)/$(PROFILE) --to $(TARGET)/deb $(if $(DEB_VERSION),--version $(DEB_VERSION))
	lintian --allow-root --fail-on error $(TARGET)/deb/*.changes

# For other systems: PREFIX (/usr/local), DESTDIR, PAMDIR and UNITDIR say where to.
install: programs
	packaging/install --built $(TARGET)/$(PROFILE)

uninstall:
	packaging/install --built $(TARGET)/$(PROFILE) --uninstall

# the programs, and what is installed with them: man pages, completions, samples
programs:
	cargo build $(if $(filter release,$(PROFILE)),--release) --locked
	cargo run $(if $(filter release,$(PROFILE)),--release) --locked --package wgmfa-packaging -- $(TARGET)/$(PROFILE)/packaging

# the programs and the PAM module that the whole-system tests start
build:
	cargo build --workspace --locked

check:
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences, bans and sources need no network; the advisories are fetched, and named as unchecked where that fails.
deny:
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny check advisories; \
	else echo "make: the advisory database could not be fetched, so advisories are not checked"; fi

root:
	@[ "$$(id -u)" = 0 ] || { echo "make: error: root is needed: network namespaces and WireGuard interfaces are made" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "make: error: Rust is needed: https://rustup.rs" >&2; exit 1; }

demo-packages: root
	@$(call install_missing,$(DEMO_PACKAGES))

test-packages: root
	@$(call install_missing,$(TEST_PACKAGES) $(PAM_PACKAGES))

test-kernel-packages: root
	@$(call install_missing,$(TEST_KERNEL_PACKAGES))

test-system-packages: root
	@$(call install_missing,$(TEST_SYSTEM_PACKAGES))

deb-packages: root
	@$(call install_missing,$(DEB_PACKAGES))

bench-packages: root
	@$(call install_missing,$(BENCH_PACKAGES))

define install_missing
missing=; for package in $(1); do \
	dpkg-query --show --showformat='$${Status}\n' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
done; \
if [ -n "$$missing" ]; then \
	echo "installing from Debian:$$missing"; \
	apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $$missing; \
fi
endef
