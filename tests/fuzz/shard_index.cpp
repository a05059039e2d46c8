// A model.safetensors.index.json.
#include "checkpoint/shard_index.hpp"

#include "fuzz/target.hpp"

namespace {

// Written apart from the reader's own rule: from the root of the file system or up is out.
bool leaves_directory(std::string_view name) {
  if (name.empty() || name.front() == '/') return true;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    const auto shards = checkpoint::parse_shard_index(fuzz::text_of(data, size), "index.json");
    fuzz::require(!shards.empty(), "an index names a tensor");
    for (const auto& [tensor, file] : shards) {
      fuzz::require(!leaves_directory(file), "no shard lies outside the index's directory");
      fuzz::require(base::printable(file, std::string::npos) == file,
                    "a shard's name has no control characters");
    }
  });
  return 0;
}
