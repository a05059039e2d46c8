# shellcheck shell=bash
# What jobs/quickstart, tests/run and .ci/run share: packages, tools, the build, the launcher's environment.
# Source it from the top of the source tree.

BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-openmpi-dev hdf5-tools
  libboost-serialization-dev libspdlog-dev libfmt-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libhwy-dev libeigen3-dev
  libxxhash-dev libgtest-dev libgmock-dev python3-numpy python3-h5py
)
TEST_PACKAGES=(slurm-wlm munge iproute2)

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: runs it, with sudo where needed; fails if this user cannot become root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    return 1
  fi
}

# install_packages NAME...: installs those that are missing. Needs neither root nor network if none is.
install_packages() {
  local name missing=()
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: taking these as installed: $*"
    return
  fi
  for name in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ]; then
      missing+=("$name")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "packages: all installed"
    return
  fi
  local install=(apt-get install -y --no-install-recommends "${missing[@]}") log=build/packages.log
  as_root true || die "missing packages, and no root here. An administrator would run: apt-get update && ${install[*]}"
  say "packages: installing ${missing[*]}"
  mkdir -p build
  # A stale third-party source must not stop us: the installation decides.
  as_root apt-get update >"$log" 2>&1 || say "packages: apt-get update reported errors; going on"
  if ! as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "the installation failed; its last lines are above, all of them in $log"
  fi
}

# find_cmake: sets CMAKE and CTEST.
find_cmake() {
  local found='' candidate version
  for candidate in /usr/bin/cmake "$(command -v cmake || true)"; do
    [ -x "$candidate" ] || continue
    version=$("$candidate" --version | sed -n '1s/.*version //p')
    found+=" $candidate $version"
    if [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -n 1)" = 3.25 ]; then
      CMAKE=$candidate
      CTEST=$(dirname "$candidate")/ctest
      return
    fi
  done
  die "CMake 3.25 or newer is needed, found:${found:- none}. Remedy: Debian 12, Ubuntu 24.04 or later, or a newer cmake" \
      "on PATH (for example: pip install cmake)"
}

# find_python: sets PYTHON to one that has numpy and h5py; others may come first on PATH.
find_python() {
  for PYTHON in python3 /usr/bin/python3; do
    if "$PYTHON" -c 'import numpy, h5py' 2>/dev/null; then
      return
    fi
  done
  die "no python3 with numpy and h5py. Remedy: apt-get install python3-numpy python3-h5py"
}

# build_jobs: prints how many compilers run at once: one per core, each with 1.5 GB of the memory that is free here.
build_jobs() {
  local cores kilobytes limit file jobs
  cores=$(nproc)
  kilobytes=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    limit=$(cat "$file" 2>/dev/null || true)
    if [[ $limit =~ ^[0-9]{1,15}$ ]] && [ $((limit / 1024)) -lt "$kilobytes" ]; then
      kilobytes=$((limit / 1024))
    fi
  done
  jobs=$((kilobytes / 1500000))
  if [ "$jobs" -gt "$cores" ]; then jobs=$cores; fi
  if [ "$jobs" -lt 1 ]; then jobs=1; fi
  echo "$jobs"
}

# build PRESET [TARGET...]: configures and builds in build/PRESET.
build() {
  local preset=$1 jobs
  shift
  jobs=$(build_jobs)
  say "build: build/$preset, $jobs at a time"
  mkdir -p "build/$preset"
  if ! "$CMAKE" --preset "$preset" >"build/$preset/configure.log" 2>&1; then
    cat "build/$preset/configure.log" >&2
    die "the configuration failed; its lines are above and in build/$preset/configure.log"
  fi
  "$CMAKE" --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
}

# prepare_mpi: lets Open MPI run as root, in a container, and with more ranks than cores.
prepare_mpi() {
  if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  # Containers forbid the system call by which ranks read each other's memory.
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
  # Ranks that share a core must give it up while they wait.
  export OMPI_MCA_mpi_yield_when_idle=1
}
