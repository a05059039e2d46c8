#include "mpimerge/hdf5/file.hpp"

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <hdf5.h>

#include "mpimerge/base/text.hpp"
#include "mpimerge/hdf5/library.hpp"

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {
namespace {

struct Visit {
  std::vector<std::string> paths;
  std::string refused;
};

herr_t note_link(hid_t /*group*/, const char* path, const H5L_info_t* info, void* to) noexcept {
  auto& visit = *static_cast<Visit*>(to);
  try {
    if (info->type != H5L_TYPE_HARD) {
      visit.refused = path;
      return 1;
    }
    visit.paths.emplace_back(path);
  } catch (...) {
    return -1;  // no memory: an exception may not pass through HDF5
  }
  return 0;
}

// HDF5 may open the files that a virtual dataset shows as soon as it is asked for its shape, and
// would wait for a FIFO among them. Asking how the dataset is stored opens nothing.
bool uses_other_files(const Dataset& dataset) {
  const Properties creation = call::creation_properties(dataset);
  if (call::layout(creation) != H5D_VIRTUAL) return call::external_files(creation) > 0;
  for (std::size_t which = 0; which < call::virtual_sources(creation); ++which) {
    if (call::virtual_source_file(creation, which) != ".") return true;
  }
  return false;
}

// `path` comes from the file.
[[noreturn]] void refuse(const std::string& path, std::string_view what) {
  throw Failure(fmt::format("{} {}", base::printable(path), what), false);
}

}  // namespace

File create_file(const std::filesystem::path& path, base::Bytes alignment) {
  start_library();
  const Properties access = call::create_properties(H5P_FILE_ACCESS);
  // 1.8 groups hold any number of links, and its superblock has no "open for writing" mark, so that
  // a file whose writer was killed still opens; virtual datasets need the newest layout message.
  call::set_version_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  call::set_alignment(access, alignment.value(), alignment.value());
  return call::create_file(path, access);
}

File open_file(const std::filesystem::path& path, Access access) {
  start_library();
  const Properties properties = call::create_properties(H5P_FILE_ACCESS);
  call::set_version_bounds(properties, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  return call::open_file(path, access == Access::read ? H5F_ACC_RDONLY : H5F_ACC_RDWR, properties);
}

void flush_file(const File& file) { call::flush(file); }

void close_file(File file) { call::close(std::move(file)); }

void create_group(const File& file, const std::string& path) {
  const Properties link = call::create_properties(H5P_LINK_CREATE);
  call::set_utf8(link);
  call::create_group(file, path, link);
}

void for_each_dataset(
    const File& file, const std::string& group,
    const std::function<void(const std::string& path, const Dataset& dataset)>& use) {
  if (call::link_type(file, group) != H5L_TYPE_HARD) refuse(group, "is a soft or external link");
  const Group top = call::open_group(file, group);
  Visit visit;
  call::visit_links(top, note_link, &visit);
  if (!visit.refused.empty()) {
    refuse(fmt::format("{}/{}", group, visit.refused), "is a soft or external link");
  }
  for (const std::string& path : visit.paths) {
    Object object = call::open_object(top, path);
    const H5I_type_t kind = call::kind(object);
    if (kind == H5I_DATASET) {
      const Dataset dataset(object.release());
      if (uses_other_files(dataset)) refuse(fmt::format("{}/{}", group, path), "uses other files");
      use(path, dataset);
    } else if (kind != H5I_GROUP) {
      refuse(fmt::format("{}/{}", group, path), "is neither a group nor a dataset");
    }
  }
}

}  // namespace mpimerge::hdf5
