#include "mpimerge/comm/abort.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

namespace mpimerge::comm {

void abort_job(const Comm& comm, base::ErrorKind kind, std::string_view message) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  // One write, so that the lines of several ranks do not mix.
  const std::string line = fmt::format("mpimerge: error: [rank {}/{} {}] {}\n", comm.rank(),
                                       comm.ranks(), host.data(), message);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  MPI_Abort(comm.get(), base::exit_code(kind));
  std::abort();
}

}  // namespace mpimerge::comm
