#include "app/same_command.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/object.hpp"

namespace mpimerge::app {
namespace {

// The words that must be the same on all ranks.
std::vector<std::string> common_words(int argc, const char* const* argv) {
  std::vector<std::string> words;
  for (int number = 1; number < argc; ++number) {
    const std::string_view word = argv[number];
    if (word == "-q" || word == "--quiet" || word == "-v" || word == "--verbose") continue;
    if (word.starts_with("--memory=")) continue;
    if (word == "--memory") {
      ++number;  // its value
    } else {
      words.emplace_back(word);
    }
  }
  return words;
}

}  // namespace

void agree_on_command_line(const comm::Comm& comm, int argc, const char* const* argv) {
  const std::vector<std::string> mine = common_words(argc, argv);
  std::vector<std::string> first = mine;
  comm::bcast_object(comm, first);
  comm::collectively(comm, "command line", [&] {
    if (mine == first) return;
    const auto text = [](const std::vector<std::string>& words) {
      return base::printable(fmt::format("{}", fmt::join(words, " ")), 400);
    };
    throw base::Error(base::ErrorKind::usage,
                      fmt::format("rank {} was started with `{}`, rank 0 with `{}`; expected the "
                                  "same, but for --memory, -q and -v",
                                  comm.rank(), text(mine), text(first)));
  });
}

}  // namespace mpimerge::app
