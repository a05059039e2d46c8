#include "app/memory.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include <sys/resource.h>

namespace mpimerge::app {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

std::uint64_t available_memory() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    std::istringstream fields(line);
    std::string key;
    std::uint64_t kilobytes = 0;
    if (fields >> key >> kilobytes && key == "MemAvailable:") return kilobytes * 1024;
  }
  return kUnlimited;
}

// A limit file holds a number or the word `max`.
std::uint64_t limit_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::uint64_t limit = 0;
  return stream >> limit ? limit : kUnlimited;
}

// The strictest limit from the process's control group up to the root, in either version of the
// hierarchy.
std::uint64_t control_group_limit() {
  std::uint64_t strictest = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version2 = controllers.empty();
    if (!version2 && controllers.find("memory") == std::string::npos) continue;
    const std::filesystem::path root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char* const file = version2 ? "memory.max" : "memory.limit_in_bytes";
    std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    for (;; group = group.parent_path()) {
      strictest = std::min(strictest, limit_in(root / group / file));
      if (group.empty()) break;
    }
  }
  return strictest;
}

}  // namespace

base::Bytes default_memory(const comm::Comm& comm) {
  comm::Comm node = comm.split_by_node();
  const auto sharing = static_cast<std::uint64_t>(node.ranks());
  node.close();
  const std::uint64_t memory = std::min(available_memory(), control_group_limit());
  return base::Bytes{memory / 10 * 7 / sharing};
}

base::Bytes peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return base::Bytes{static_cast<std::uint64_t>(usage.ru_maxrss) * 1024};
}

}  // namespace mpimerge::app
