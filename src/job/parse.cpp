#include "mpimerge/job/parse.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/narrow.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/job/sweep.hpp"

#include "job/faults.hpp"
#include "job/grid.hpp"
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

// What a job file or text asks for, before it is anything's meaning.
struct Tree {
  Node root;
  bool is_changed;  // by some `--set`
};

Tree read_tree_with(std::string_view yaml, const std::vector<SetOverride>& sets, Faults& faults) {
  Tree tree{read_root(yaml, faults), !sets.empty()};
  for (std::size_t i = 0; i < sets.size(); ++i)
    apply(sets[i], base::narrow<int>(i), tree.root, faults);
  return tree;
}

std::vector<SetOverride> parse_sets(const std::vector<std::string>& overrides) {
  std::vector<SetOverride> sets;
  for (const std::string& text : overrides) sets.push_back(parse_set_override(text));
  return sets;
}

Faults faults_of(const std::filesystem::path& file, const std::vector<SetOverride>& sets) {
  std::vector<std::string> keys;
  for (const SetOverride& set : sets) keys.push_back(set.key);
  return {base::printable_path(file), std::move(keys)};
}

std::string read_job_text(const std::filesystem::path& file) {
  try {
    return read_text(file);
  } catch (const base::Error& error) {
    if (error.kind() != base::ErrorKind::input) throw;
    throw base::Error(base::ErrorKind::job, fmt::format("job file {}", error.what()));
  }
}

// Of all points together: each has the whole job, with its values.
constexpr std::size_t kMostTextOfPoints = std::size_t{64} << 20;

}  // namespace

Job parse_job_file(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return parse_job(read_job_text(file), file, overrides);
}

Job parse_job(std::string_view yaml, const std::filesystem::path& file,
              const std::vector<std::string>& overrides) {
  const std::vector<SetOverride> sets = parse_sets(overrides);
  Faults faults = faults_of(file, sets);
  const Tree tree = read_tree_with(yaml, sets, faults);
  Job job = read_job(tree.root, file.parent_path(), faults);
  faults.throw_if_any();
  job.file = file.string();
  job.text = tree.is_changed ? write_tree(tree.root) : std::string(yaml);
  return job;
}

Sweep parse_sweep_file(const std::filesystem::path& file,
                       const std::vector<std::string>& overrides) {
  return parse_sweep(read_job_text(file), file, overrides);
}

Sweep parse_sweep(std::string_view yaml, const std::filesystem::path& file,
                  const std::vector<std::string>& overrides) {
  const std::vector<SetOverride> sets = parse_sets(overrides);
  Faults faults = faults_of(file, sets);
  Tree tree = read_tree_with(yaml, sets, faults);
  const std::string text = tree.is_changed ? write_tree(tree.root) : std::string(yaml);
  const Grid grid(tree.root, faults);
  Sweep sweep;
  sweep.keys = grid.keys();
  std::size_t points = grid.points();
  if (points > 1 && points * write_tree(tree.root).size() > kMostTextOfPoints) {
    faults.add({1, -1}, "sweep", fmt::format("the job is too long for {} points", points));
    points = 1;
  }
  for (std::size_t point = 0; point < points; ++point) {
    Node root = tree.root;
    grid.apply(point, root, faults);
    Job job = read_job(root, file.parent_path(), faults);
    if (faults.are_too_many()) break;
    job.file = file.string();
    job.text = sweep.is_sweep() ? write_tree(root) : text;
    sweep.values.push_back(grid.values(point));
    sweep.points.push_back(std::move(job));
  }
  faults.throw_if_any();
  sweep.job = sweep.points.front();
  sweep.job.text = text;
  return sweep;
}

std::vector<std::string> words_of(std::string_view command) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::vector<std::string> words;
  for (std::size_t begin = 0;
       (begin = command.find_first_not_of(kBlanks, begin)) != std::string_view::npos;) {
    const std::size_t end = std::min(command.find_first_of(kBlanks, begin), command.size());
    words.emplace_back(command.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

std::string Sweep::label(std::size_t point) const {
  std::string label;
  for (std::size_t key = 0; key < keys.size(); ++key)
    label += fmt::format("-{}-{}", keys[key], values[point][key]);
  return label;
}

}  // namespace mpimerge::job
