#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::test {

/// One directory for all ranks of a communicator. Making it and letting it go are collective.
class SharedDir {
 public:
  explicit SharedDir(const comm::Comm& comm) : comm_(comm) {
    std::vector<char> path;
    if (comm_.is_root()) {
      owned_.emplace();
      const std::string text = owned_->path().string();
      path.assign(text.begin(), text.end());
    }
    comm::bcast_bytes(comm_, path);
    path_ = std::string(path.begin(), path.end());
  }
  ~SharedDir() { comm::barrier(comm_); }
  SharedDir(const SharedDir&) = delete;
  SharedDir& operator=(const SharedDir&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  const comm::Comm& comm_;
  std::filesystem::path path_;
  std::optional<TempDir> owned_;  // goes after the barrier
};

}  // namespace mpimerge::test
