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

std::string name_of_rank(const Comm& comm) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("rank {}/{} {}", comm.rank(), comm.ranks(), host.data());
}

void abort_job(const Comm& comm, base::ErrorKind kind, std::string_view message) {
  // One write, so that the lines of several ranks do not mix.
  const std::string line = fmt::format("mpimerge: error: [{}] {}\n", name_of_rank(comm), message);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  MPI_Abort(comm.get(), base::exit_code(kind));
  std::abort();
}

}  // namespace mpimerge::comm
