#include "checkpoint/files.hpp"

#include <algorithm>
#include <iterator>
#include <ranges>
#include <span>
#include <string_view>
#include <system_error>

#include "mpimerge/base/narrow.hpp"

#include "checkpoint/refuse.hpp"

namespace mpimerge::checkpoint {

namespace fs = std::filesystem;

bool has(const fs::path& directory, const char* name) {
  std::error_code ignored;
  return fs::symlink_status(directory / name, ignored).type() != fs::file_type::not_found;
}

bool names_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string read_text(const base::FileDescriptor& descriptor, const fs::path& file,
                      base::Bytes from, std::uint64_t bytes) {
  std::string text(base::narrow<std::size_t>(bytes), '\0');
  base::read_exactly(descriptor, file, from, std::as_writable_bytes(std::span(text)));
  return text;
}

void check_no_git_lfs_pointer(std::string_view first_bytes, const fs::path& file) {
  if (first_bytes.starts_with("version ")) {
    refuse(file,
           "a Git LFS pointer, not the tensors themselves; run `git lfs pull` in its repository");
  }
}

void append_file(Catalog& catalog, const fs::path& file, std::vector<TensorInfo> tensors) {
  const auto number = base::narrow<std::uint32_t>(catalog.files.size());
  for (TensorInfo& tensor : tensors) tensor.file = number;
  std::ranges::move(tensors, std::back_inserter(catalog.tensors));
  catalog.files.push_back(file);
}

}  // namespace mpimerge::checkpoint
