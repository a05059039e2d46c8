#include "app/provenance.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <sstream>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/collectives.hpp"

namespace mpimerge::app {
namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;

// The checksum of what a catalog says of one of its files.
std::uint64_t header_checksum(const checkpoint::Catalog& catalog, std::size_t file) {
  std::string text;
  for (const checkpoint::TensorInfo& tensor : catalog.tensors) {
    if (tensor.file != file) continue;
    fmt::format_to(std::back_inserter(text), "{} {} [{}] {} {}\n", tensor.name,
                   base::name(tensor.dtype), fmt::join(tensor.shape, ","), tensor.offset.value(),
                   tensor.bytes.value());
  }
  return XXH3_64bits(text.data(), text.size());
}

void add_files(const checkpoint::Catalog& catalog, std::vector<output::InputFile>& inputs) {
  for (std::size_t file = 0; file < catalog.files.size(); ++file) {
    const std::string path = catalog.files[file].string();
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      throw base::Error(base::ErrorKind::input,
                        fmt::format("{}: cannot be looked up: {}", path, std::strerror(errno)));
    }
    inputs.push_back({path, base::Bytes{static_cast<std::uint64_t>(status.st_size)},
                      status.st_mtim.tv_sec * kNanoseconds + status.st_mtim.tv_nsec,
                      header_checksum(catalog, file)});
  }
}

}  // namespace

std::string utc_time(std::int64_t nanoseconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(static_cast<std::time_t>(nanoseconds / kNanoseconds)));
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return utc_time(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

std::vector<output::InputFile> fingerprints(const Models& models) {
  std::vector<output::InputFile> inputs;
  for (const checkpoint::Catalog& model : models) {
    // A base of one value lists the files of the first model.
    if (model.content == checkpoint::Content::files) add_files(model, inputs);
  }
  return inputs;
}

output::Run this_run(const comm::Comm& comm) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string mine = std::string(host.data()) + "\n";
  const std::vector<char> all = comm::gather_bytes(comm, mine);
  std::istringstream lines(std::string(all.begin(), all.end()));
  std::set<std::string> hosts;
  for (std::string line; std::getline(lines, line);) hosts.insert(line);
  output::Run run;
  run.started = utc_now();
  run.ended = run.started;
  run.ranks = static_cast<std::uint64_t>(comm.ranks());
  run.hosts = {hosts.begin(), hosts.end()};
  return run;
}

nlohmann::ordered_json provenance_json(const output::Journal& journal) {
  auto inputs = nlohmann::ordered_json::array();
  for (const output::InputFile& input : journal.inputs) {
    inputs.push_back({{"path", input.path},
                      {"bytes", input.bytes.value()},
                      {"modified", utc_time(input.modified)},
                      {"header_xxh3", fmt::format("{:016x}", input.header)}});
  }
  auto runs = nlohmann::ordered_json::array();
  for (const output::Run& run : journal.runs) {
    runs.push_back({{"started", run.started},
                    {"ended", run.ended},
                    {"ranks", run.ranks},
                    {"hosts", run.hosts}});
  }
  return {{"program", "mpimerge " + journal.program}, {"inputs", inputs}, {"runs", runs}};
}

bool made_by_this_merge(const std::string& summary, const output::Journal& journal) {
  using Json = nlohmann::ordered_json;
  if (journal.runs.empty()) return false;
  const Json expected = provenance_json(journal);
  const Json found = Json::parse(summary, nullptr, false);
  const auto value = [](const Json& json, const char* key) {
    return json.is_object() ? json.value(key, Json()) : Json();
  };
  const Json told = value(found, "provenance");
  const Json runs = value(told, "runs");
  if (!runs.is_array() || runs.empty() || value(told, "inputs") != expected["inputs"]) return false;
  return std::ranges::all_of(std::array{"started", "ranks", "hosts"}, [&](const char* key) {
    return value(runs[0], key) == expected["runs"][0][key];
  });
}

}  // namespace mpimerge::app
