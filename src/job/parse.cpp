#include "mpimerge/job/parse.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"

#include "job/faults.hpp"
#include "job/schema.hpp"
#include "job/set_override.hpp"
#include "job/tree.hpp"

namespace mpimerge::job {
namespace {

constexpr base::Bytes kMaxJobFileBytes{std::uint64_t{16} << 20};
constexpr std::string_view kExpectedRoot = "expected a map with merge_method, base_model, models";

std::string read_text(const std::filesystem::path& file) {
  const base::FileDescriptor opened = base::open_for_reading(file);
  const base::Bytes bytes = base::file_size(opened, file);
  if (bytes > kMaxJobFileBytes) {
    throw base::Error(
        base::ErrorKind::job,
        fmt::format("{}: the job file has {}; expected at most {}; is it a checkpoint?",
                    base::printable_path(file), base::human_bytes(bytes),
                    base::human_bytes(kMaxJobFileBytes)));
  }
  std::string text(base::narrow<std::size_t>(bytes.value()), '\0');
  base::read_exactly(opened, file, base::Bytes{0}, std::as_writable_bytes(std::span(text)));
  return text;
}

Node read_root(std::string_view yaml, Faults& faults) {
  Node root;
  try {
    root = read_tree(yaml, -1, "", faults);
  } catch (const UnreadableYaml& error) {
    faults.add({error.line, -1}, "", error.what());
    faults.throw_if_any();
  }
  if (root.kind == Node::Kind::nothing)
    faults.add({1, -1}, "", fmt::format("the job is empty; {}", kExpectedRoot));
  if (root.kind == Node::Kind::scalar || root.kind == Node::Kind::list) {
    faults.add(root.place, "", fmt::format("the job is {}; {}", describe(root), kExpectedRoot));
  }
  if (root.kind != Node::Kind::map) faults.throw_if_any();
  return root;
}

}  // namespace

Job parse_job_file(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::string text;
  try {
    text = read_text(file);
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::input) throw;
    throw base::Error(base::ErrorKind::job, fmt::format("job file {}", error.what()));
  }
  return parse_job(text, file, overrides);
}

Job parse_job(std::string_view yaml, const std::filesystem::path& file,
              const std::vector<std::string>& overrides) {
  std::vector<SetOverride> sets;
  std::vector<std::string> set_keys;
  for (const std::string& text : overrides) {
    sets.push_back(parse_set_override(text));
    set_keys.push_back(sets.back().key);
  }
  Faults faults(base::printable_path(file), std::move(set_keys));
  Node root = read_root(yaml, faults);
  for (std::size_t i = 0; i < sets.size(); ++i) apply(sets[i], base::narrow<int>(i), root, faults);
  Job job = read_job(root, file.parent_path(), faults);
  faults.throw_if_any();
  job.file = file.string();
  job.text = sets.empty() ? std::string(yaml) : write_tree(root);
  return job;
}

}  // namespace mpimerge::job
